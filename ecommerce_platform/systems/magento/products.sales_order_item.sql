-- The products that were sold. Parent and part of a configurable product have one number; the parent's name is meant.
select
    {prefix}as_text("sku") as product_id,
    case when nullif(as_text("parent_item_id"), '\N') is null then as_text("name") end as name
from bronze.sales_order_item
