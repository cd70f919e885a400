-- The products that were sold.
select
    prestashop_row_product as product_id,
    as_text("product_name") as name
from bronze.order_detail
