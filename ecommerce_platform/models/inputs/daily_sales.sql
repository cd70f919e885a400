select
    order_date,
    orders,
    cast(revenue as double) as revenue,
    cast(units as double) as units
from gold.fct_days
