"""Reading what is published, for everything that shows it: imports contracts, settings and errors, never Dagster, and
never opens the warehouse file."""
