-- Products of orders, without tax. Where the totals of orders are there, too, they say the tax of the whole order.
select
    opencart_order as order_id,
    as_bigint("order_product_id") as line_number,
    opencart_product as product_id,
    as_integer("quantity") as quantity,
    as_decimal("price") as unit_price,
    case when not {with:order_total} then as_integer("quantity") * as_decimal("tax") end as tax_amount
from bronze.order_product
