-- What fees are for.
select
    {prefix}'fee-' || as_text("name") as product_id,
    as_text("name") as name
from bronze.order_fees
