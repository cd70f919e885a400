"""What is said to people about findings, and where it is sent: pure decisions and messages, without Dagster and tables."""
