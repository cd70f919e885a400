-- Everybody who ordered within a year, with the moment after the newest order.
with newest as (

    select max(ordered_at) as ordered_at
    from gold.fct_orders
    where is_counted

)

select distinct
    orders.person_id,
    newest.ordered_at + to_seconds(1) as at
from gold.fct_orders as orders
cross join newest
where
    orders.is_counted
    and orders.person_id is not null
    and orders.ordered_at > newest.ordered_at - to_days(365)
