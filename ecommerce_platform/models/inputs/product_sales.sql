select
    items.order_date,
    items.product_id,
    coalesce(products.category, 'unknown') as category,
    cast(sum(items.quantity) as double) as units
from gold.fct_order_items as items
left join gold.dim_product as products on items.product_id = products.product_id
where items.is_valid
group by items.order_date, items.product_id, coalesce(products.category, 'unknown')
