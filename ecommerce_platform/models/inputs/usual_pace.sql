-- Orders a day over the last year (or as long as there are any), beside those of the newest $days days.
with newest as (

    select
        max(ordered_at) as ordered_at,
        min(ordered_at) as first_at
    from gold.fct_orders
    where is_counted

),

counted as (

    select
        least(
            365, date_diff('day', cast(min(newest.first_at) as date), cast(max(newest.ordered_at) as date)) + 1
        ) as days,
        count(*) filter (where orders.ordered_at > newest.ordered_at - to_days(365)) as orders,
        count(*) filter (where orders.ordered_at > newest.ordered_at - to_days($days)) as lately
    from gold.fct_orders as orders
    cross join newest
    where orders.is_counted

)

select
    orders / nullif(cast(days as double), 0)
    / nullif(lately / nullif(cast($days as double), 0), 0) as pace
from counted
