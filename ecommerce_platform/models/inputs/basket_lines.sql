-- Each order's products, each once, of orders that count: the baskets of gold.product_affinity, with their day.
select distinct
    items.order_id,
    orders.order_date,
    items.product_id
from gold.fct_order_items as items
inner join gold.fct_orders as orders on items.order_id = orders.order_id
where items.is_valid and orders.is_counted
