-- Everybody who had ordered within a year $days days before the newest order, that moment, and what they ordered since.
with newest as (

    select max(ordered_at) as ordered_at
    from gold.fct_orders
    where is_counted

),

placed as (

    select
        orders.person_id,
        orders.ordered_at,
        newest.ordered_at - to_days($days) as moment
    from gold.fct_orders as orders
    cross join newest
    where
        orders.is_counted
        and orders.person_id is not null
        and orders.ordered_at > newest.ordered_at - to_days($days) - to_days(365)

)

select
    person_id,
    max(moment) + to_seconds(1) as at,
    count(*) filter (where ordered_at > moment) as since
from placed
group by person_id
having min(ordered_at) <= max(moment)
order by person_id
