-- Each order's products, each once, of orders that count: the baskets of gold.product_affinity, with their day.
-- Numbers stand for orders, in the order of days and ids: among millions of orders their ids would take the memory.
with baskets as (

    select
        order_id,
        order_date,
        row_number() over (order by order_date, order_id) as basket
    from gold.fct_orders
    where is_counted

)

select distinct
    baskets.basket as order_id,
    baskets.order_date,
    items.product_id
from gold.fct_order_items as items
inner join baskets on items.order_id = baskets.order_id
where items.is_valid and items.quantity <> 0
