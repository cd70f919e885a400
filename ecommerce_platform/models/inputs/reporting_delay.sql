-- Days from an order's newest event to the load that reported it: the 95th percentile of what was reported by a day.
with events as (

    select
        _load_date,
        cast(greatest(ordered_at, approved_at, shipped_at, delivered_at) as date) as event_date
    from silver.orders
    where ordered_at is not null

),

loads as (

    select min(_load_date) as first_load
    from silver.orders

)

select quantile_disc(date_diff('day', events.event_date, events._load_date), 0.95) as days
from events
cross join loads
where
    events.event_date >= loads.first_load
    and events._load_date <= $last_day
    and events.event_date <= events._load_date
