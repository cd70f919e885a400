-- The products that were sold.
select
    woo_product as product_id,
    as_text("name") as name
from bronze.order_lines
where not {with:products} and not {with:product_csv}
    or not {with:product_csv} and coalesce(nullif(as_text("variation_id"), '0'), '') <> ''
    or coalesce(nullif(as_text("product_id"), '0'), '') = ''
