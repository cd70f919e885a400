-- The catalogue, variations as products of their own; a product in several categories goes by the first, the last of its path.
select
    {prefix}as_text("ID") as product_id,
    as_text("Name") as name,
    as_text(regexp_extract(split_part("Categories", ',', 1), '[^>]+$')) as category,
    as_decimal(replace("Regular price", ',', '.')) as list_price
from bronze.product_csv
