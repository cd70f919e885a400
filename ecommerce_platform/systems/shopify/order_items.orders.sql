-- Lines in the order of the export. What is said of the whole order is spread over them by their amounts: the discount,
-- which is what the subtotal lacks to the sum of the lines, so that the lines come to the subtotal; and the tax. Shipping
-- stands on the first line.
select
    shopify_order as order_id,
    row_number() over (partition by _load_date, _source_file, shopify_order order by _source_row) as line_number,
    shopify_product as product_id,
    as_integer("Lineitem quantity") as quantity,
    as_decimal("Lineitem price") as unit_price,
    coalesce(as_decimal("Lineitem discount"), 0)
    + part_of(
        coalesce(
            sum(shopify_line_amount) over (partition by _load_date, _source_file, shopify_order)
            - max(as_decimal("Subtotal")) over (partition by _load_date, _source_file, shopify_order),
            max(as_decimal("Discount Amount")) over (partition by _load_date, _source_file, shopify_order),
            0
        ),
        shopify_line_amount,
        sum(shopify_line_amount) over (partition by _load_date, _source_file, shopify_order order by _source_row),
        sum(shopify_line_amount) over (partition by _load_date, _source_file, shopify_order),
        row_number() over (partition by _load_date, _source_file, shopify_order order by _source_row)
    ) as discount_amount,
    part_of(
        max(as_decimal("Taxes")) over (partition by _load_date, _source_file, shopify_order),
        shopify_line_amount,
        sum(shopify_line_amount) over (partition by _load_date, _source_file, shopify_order order by _source_row),
        sum(shopify_line_amount) over (partition by _load_date, _source_file, shopify_order),
        row_number() over (partition by _load_date, _source_file, shopify_order order by _source_row)
    ) as tax_amount,
    as_decimal("Shipping") as shipping_amount
from bronze.orders
