-- A figure counts as known from the load of its newest revision on: later than when it was first published, never earlier.
select
    indicator,
    _load_date as published_on,
    period_date,
    value
from silver.economic_indicators
