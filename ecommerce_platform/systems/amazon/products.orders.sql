-- The products that were sold, by the seller's own number.
select
    amazon_product as product_id,
    as_text("product-name") as name
from bronze.orders
