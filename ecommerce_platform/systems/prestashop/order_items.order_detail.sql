-- Rows by their numbers, without tax; what is taken off an order as a whole stands on a line of its own.
select
    prestashop_table_order as order_id,
    as_bigint("id_order_detail") as line_number,
    prestashop_row_product as product_id,
    as_integer("product_quantity") as quantity,
    as_decimal("unit_price_tax_excl") as unit_price,
    as_integer("product_quantity") * (as_decimal("unit_price_tax_incl") - as_decimal("unit_price_tax_excl")) as tax_amount
from bronze.order_detail
