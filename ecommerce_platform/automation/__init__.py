"""The Dagster instance and everything that runs assets: builds now, schedules and sensors to come."""
