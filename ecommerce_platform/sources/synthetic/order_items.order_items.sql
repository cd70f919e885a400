select
    as_text(order_no) as order_id,
    as_integer(pos) as line_number,
    as_text(sku) as product_id,
    as_integer(qty) as quantity,
    as_decimal(unit_price) as unit_price,
    as_decimal(rebate) as discount_amount,
    as_decimal(shipping) as shipping_amount,
    as_decimal(vat) as tax_amount
from bronze.synthetic__order_items
