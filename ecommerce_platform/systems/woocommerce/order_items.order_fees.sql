-- Fees are lines of their own, told from the others by their ids; one below 0 is a discount, and its tax makes it larger.
select
    {prefix}as_text("order_id") as order_id,
    as_integer("id") as line_number,
    {prefix}'fee-' || as_text("name") as product_id,
    1 as quantity,
    greatest(as_decimal("total"), 0) as unit_price,
    greatest(-as_decimal("total"), 0) + greatest(-coalesce(as_decimal("total_tax"), 0), 0) as discount_amount,
    greatest(coalesce(as_decimal("total_tax"), 0), 0) as tax_amount
from bronze.order_fees
