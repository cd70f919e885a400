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

),

reported as (

    select
        date_diff('day', events.event_date, events._load_date) as days,
        cume_dist() over (order by date_diff('day', events.event_date, events._load_date)) as share
    from events
    cross join loads
    where
        events.event_date >= loads.first_load
        and events._load_date <= $last_day
        and events.event_date <= events._load_date

)

select min(days) as days
from reported
where share >= 0.95
