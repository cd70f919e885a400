-- The products that were sold.
select
    woo_row_product as product_id,
    as_text("item_name") as name
from bronze.item_rows
where not {with:products} and not {with:product_csv} or coalesce(nullif(as_text("item_product_id"), '0'), '') = ''
