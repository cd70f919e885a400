"""The one way to the published snapshot for dashboard, API, assistants and reports: bounded, shared, swapped at a publish.

```python
reader = Reader.of(settings)                 # one per process; threads share it
with reader.view(user="ada") as view:        # one state for everything asked within, whatever is published meanwhile
    view.id, view.published_at               # which snapshot; also for links and ETags
    answer = view.metric(Query(("revenue", "orders"), by=("region",), period="month", filters=(…,), since=…, until=…))
    answer.columns, answer.types, answer.rows, answer.truncated
    answer.records()                         # dicts; `answer.frame()` is a Polars frame with floats for money
    view.rows("gold.kpi_monthly", order=("month",))             # a published table, or part of it
    view.select("select … from gold.rfm …", limit=5_000)        # SQL of our own code (values: `literal`)
    view.sql(text_of_a_person, limit=1_000)                     # SQL of anybody: one SELECT, fewer at once
    view.has("ml.churn_scores"), view.tables, view.freshness()  # what there is; tables differ from shop to shop
    view.metric_names(), view.dimension_names()                 # what can be asked of this snapshot
```

Errors: `InputError` (also `MetricError`) what is asked makes no sense; `LimitError` it took more time or memory than it may;
`BusyError` too many ask at once (`retry_after` seconds; `own` when it is this user alone). Identical questions on one
snapshot are worked out once: calling again is cheap, so nothing needs a cache above this. Personal columns are hashes
here; who may see them in clear asks `restricted.py`.
"""
