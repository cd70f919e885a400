-- Known from the load of the newest revision on: later than when a figure was first published, never earlier.
select
    indicator,
    _load_date as published_on,
    period_date,
    value
from silver.economic_indicators
