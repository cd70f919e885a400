select
    order_date,
    orders,
    cast(revenue as double) as revenue,
    cast(units as double) as units,
    coalesce(cast(discount_amount as double) / nullif(cast(gross_amount as double), 0), 0) as discount_share
from gold.fct_days
