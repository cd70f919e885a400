-- Lines by their ids, without tax. The price of one is that of the line before discounts over its units; what rounding
-- takes off it the discount gives back, so that each line comes to its total. Shipping and its tax stand on the first line.
select
    {prefix}as_text("order_id") as order_id,
    as_integer("id") as line_number,
    woo_product as product_id,
    as_integer("quantity") as quantity,
    coalesce(round(as_decimal("subtotal") / nullif(as_integer("quantity"), 0), 4), 0) as unit_price,
    as_integer("quantity") * coalesce(round(as_decimal("subtotal") / nullif(as_integer("quantity"), 0), 4), 0)
    - as_decimal("total") as discount_amount,
    case when _position = 1 then as_decimal("shipping_total") end as shipping_amount,
    coalesce(as_decimal("total_tax"), 0) + case when _position = 1 then coalesce(as_decimal("shipping_tax"), 0) else 0 end
        as tax_amount
from bronze.order_lines
