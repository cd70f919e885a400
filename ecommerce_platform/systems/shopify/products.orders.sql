-- The products that were sold. Those without a SKU, such as gift cards, go by their name.
select
    shopify_product as product_id,
    as_text("Lineitem name") as name,
    as_text("Vendor") as brand
from bronze.orders
