"""What people and programs look at: readers of the published snapshot only. Nothing here opens the warehouse or knows
Dagster; imports go to `reading`, `contracts`, `settings`, `errors` and the small modules beside them."""
