-- What was known of persons at a moment each, from their orders of the year before it; `_moments` has them.
select
    moments.person_id,
    count(orders.ordered_at) as orders,
    count(*) filter (where orders.ordered_at >= moments.at - to_days(90)) as orders_90,
    cast(coalesce(sum(orders.revenue_amount), 0) as double) as revenue,
    cast(
        coalesce(date_diff('day', cast(max(orders.ordered_at) as date), cast(max(moments.at) as date)), 999) as double
    ) as recency,
    cast(
        coalesce(date_diff('day', cast(min(orders.ordered_at) as date), cast(max(moments.at) as date)), 0) as double
    ) as tenure,
    any_value(customers.age_group) as age_group
from _moments as moments
left join gold.fct_orders as orders
    on
        moments.person_id = orders.person_id
        and orders.is_counted
        and moments.at > orders.ordered_at
        and orders.ordered_at >= moments.at - to_days(365)
left join gold.dim_customer as customers on moments.person_id = customers.person_id
group by moments.person_id
order by moments.person_id
