-- Lines, by the end of their ids: whole ones are longer than a line's number may be. Discounts of the order are part of
-- what was allocated to its lines. Shipping, less the discounts on it, and its tax stand on the first line. A gift card
-- that was sold does not count: nothing was bought with it yet.
select
    {prefix}as_text("order_name") as order_id,
    as_bigint("id") % 2147483647 as line_number,
    shopify_api_product as product_id,
    as_integer("quantity") as quantity,
    as_decimal("price") as unit_price,
    coalesce(as_decimal_sum("discount_allocations", '$[*]', '$.amount'), as_decimal("total_discount"), 0) as discount_amount,
    case
        when _position = 1
            then as_decimal_sum("shipping_lines", '$[*]', '$.price')
                - as_decimal_sum("shipping_lines", '$[*].discount_allocations[*]', '$.amount')
    end as shipping_amount,
    coalesce(as_decimal_sum("tax_lines", '$[*]', '$.price'), 0)
    + case
        when _position = 1 then coalesce(as_decimal_sum("shipping_lines", '$[*].tax_lines[*]', '$.price'), 0) else 0
    end as tax_amount,
    case when as_boolean("gift_card") then false end as is_valid
from bronze.api_lines
