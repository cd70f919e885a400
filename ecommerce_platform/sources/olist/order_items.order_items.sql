select
    as_text(order_id) as order_id,
    as_integer(order_item_id) as line_number,
    as_text(product_id) as product_id,
    as_text(seller_id) as seller_id,
    -- Olist writes one line per unit.
    1 as quantity,
    as_decimal(price) as unit_price,
    as_decimal(freight_value) as shipping_amount
from bronze.olist__order_items
