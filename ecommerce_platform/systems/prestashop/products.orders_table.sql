-- What stands for an order as a whole.
select
    {prefix}'order' as product_id,
    'Discounts, shipping and wrapping' as name
from bronze.orders_table
