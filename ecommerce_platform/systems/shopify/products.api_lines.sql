-- The products that were sold. Those without a SKU, such as gift cards, go by their name.
select
    shopify_api_product as product_id,
    as_text("name") as name,
    as_text("vendor") as brand
from bronze.api_lines
