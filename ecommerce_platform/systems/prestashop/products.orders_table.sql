-- What stands for an order as a whole.
select
    {prefix}'order' as product_id,
    'Discounts, shipping and wrapping' as name
from bronze.orders_table
where prestashop_discounts <> 0 or prestashop_charges <> 0
