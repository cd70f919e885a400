"""Where a SELECT runs and its rows are kept: DuckDB's file, or Spark with Parquet behind manifests.

One small interface (`interface.py`), the DuckDB SQL of the model files translated (`translate.py`), tables as files
(`store.py`), a session with fixed semantics (`spark.py`), and the gold layer worked out by Spark (`gold.py`). Nothing here
knows a shop or Dagster."""
