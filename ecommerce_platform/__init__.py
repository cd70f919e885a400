"""An online shop's raw exports become trusted tables, KPIs and models: Dagster assets in DuckDB."""
