"""What is said of tables beyond their contracts: expectations, profiles, drift, anomalies, swapped dates."""
