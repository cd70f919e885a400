select
    items.order_date,
    coalesce(products.category, 'unknown') as category,
    cast(sum(items.revenue_amount) as double) as revenue
from gold.fct_order_items as items
left join gold.dim_product as products on items.product_id = products.product_id
where items.is_valid
group by items.order_date, coalesce(products.category, 'unknown')
