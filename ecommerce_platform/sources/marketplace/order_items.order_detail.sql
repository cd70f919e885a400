-- The list price is rounded and differs from the line's amount in 23 lines: what the line came to is divided instead.
select
    as_text(id) as order_id,
    row_number() over (partition by _load_date, as_text(id) order by as_text(sku_id)) as line_number,
    as_text(sku_id) as product_id,
    as_integer(qty_ordered) as quantity,
    as_decimal(before_discount) / nullif(as_integer(qty_ordered), 0) as unit_price,
    as_decimal(discount_amount) as discount_amount,
    as_boolean(is_valid) as is_valid
from bronze.marketplace__order_detail
