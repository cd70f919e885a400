-- What stands for an order as a whole.
select
    {prefix}'order' as product_id,
    'Discounts, shipping, fees and tax' as name
from bronze.order_total
