-- The products that were sold.
select
    opencart_product as product_id,
    as_text("name") as name
from bronze.order_product
