-- Items; the report does not number them. The price is that of all units, with what wrapping them as a gift costs; what
-- rounding the price of one takes off it the discount gives back, so that each item comes to its price. An item without
-- one, pending or canceled, is kept with 0 and does not count. A discount on shipping makes the shipping less.
select
    amazon_order as order_id,
    row_number() over (
        partition by _load_date, _source_file, amazon_order order by as_text("sku"), as_text("asin"), _source_row
    ) as line_number,
    amazon_product as product_id,
    as_integer("quantity") as quantity,
    coalesce(round(amazon_price / nullif(as_integer("quantity"), 0), 4), 0) as unit_price,
    coalesce(as_decimal("item-promotion-discount"), 0)
    + coalesce(as_integer("quantity") * round(amazon_price / nullif(as_integer("quantity"), 0), 4) - amazon_price, 0)
        as discount_amount,
    coalesce(as_decimal("shipping-price"), 0) - coalesce(as_decimal("ship-promotion-discount"), 0) as shipping_amount,
    coalesce(as_decimal("item-tax"), 0)
    + coalesce(as_decimal("shipping-tax"), 0)
    + coalesce(as_decimal("gift-wrap-tax"), 0) as tax_amount,
    as_text("item-price") is not null and not coalesce(amazon_canceled, false) as is_valid
from bronze.orders
