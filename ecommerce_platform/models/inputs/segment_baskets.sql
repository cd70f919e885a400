-- How often each segment had the product of a rule in a basket of the newest days, and how often the other one with it.
with newest as (

    select max(order_date) as day
    from gold.fct_orders
    where is_counted

),

lines as (

    select
        orders.person_id,
        items.order_id,
        items.product_id,
        cast(sum(items.profit_amount) as double) as profit
    from gold.fct_order_items as items
    inner join gold.fct_orders as orders on items.order_id = orders.order_id
    cross join newest
    where
        items.is_valid
        and items.quantity <> 0
        and orders.is_counted
        and orders.person_id is not null
        and orders.order_date > newest.day - $days
    group by orders.person_id, items.order_id, items.product_id

),

profits as (

    select
        product_id,
        avg(profit) as profit
    from lines
    where profit is not null
    group by product_id

)

select
    segments.segment_name,
    rules.product_id,
    rules.other_product_id,
    count(*) as baskets,
    count(beside.order_id) as with_both,
    any_value(profits.profit) as profit
from ml.bought_together as rules
inner join lines on rules.product_id = lines.product_id
inner join ml.segments as segments on lines.person_id = segments.person_id
left join lines as beside on lines.order_id = beside.order_id and rules.other_product_id = beside.product_id
left join profits on rules.other_product_id = profits.product_id
where rules.basis = 'rule'
group by segments.segment_name, rules.product_id, rules.other_product_id
order by segments.segment_name, rules.product_id, rules.other_product_id
