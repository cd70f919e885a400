-- The catalogue; a product in several categories goes by the first.
select
    {prefix}as_text("id") as product_id,
    as_text("name") as name,
    as_text("categories"->>'$[0].name') as category,
    coalesce(as_decimal("regular_price"), as_decimal("price")) as list_price,
    as_local_timestamp("date_created_gmt", 'UTC') as launched_at
from bronze.products
