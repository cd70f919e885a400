-- Items without a parent. Prices are in the base currency and without tax.
select
    {prefix}as_text("order_id") as order_id,
    as_integer("item_id") as line_number,
    {prefix}as_text("sku") as product_id,
    as_integer("qty_ordered") as quantity,
    as_decimal(nullif("base_price", '\N')) as unit_price,
    as_decimal(nullif("base_discount_amount", '\N')) as discount_amount,
    as_decimal(nullif("base_tax_amount", '\N')) as tax_amount,
    as_decimal(nullif("base_cost", '\N')) as unit_cost
from bronze.sales_order_item
where nullif(as_text("parent_item_id"), '\N') is null
