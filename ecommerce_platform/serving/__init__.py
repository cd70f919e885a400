"""What people and programs look at: readers of the published snapshot only. Never imports Dagster, never opens the warehouse."""
