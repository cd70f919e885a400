"""All that Dagster sees: assets, checks, jobs, schedules and sensors, their assembly, and its instance. What is computed stands
below; what a person starts from the command line stands above, in operations."""
