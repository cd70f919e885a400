-- Rows by their numbers, without tax. Discounts of the order are spread over its rows by their amounts. Shipping, what
-- wrapping costs, and the tax of both stand on the first row.
select
    prestashop_line_order as order_id,
    as_integer("id") as line_number,
    prestashop_product as product_id,
    as_integer("product_quantity") as quantity,
    as_decimal("unit_price_tax_excl") as unit_price,
    part_of(
        coalesce(as_decimal("discounts"), 0),
        prestashop_line,
        sum(prestashop_line) over (
            partition by _load_date, _source_file, prestashop_line_order order by as_integer("id")
        ),
        sum(prestashop_line) over (partition by _load_date, _source_file, prestashop_line_order),
        row_number() over (partition by _load_date, _source_file, prestashop_line_order order by as_integer("id"))
    ) as discount_amount,
    case when _position = 1 then coalesce(as_decimal("shipping"), 0) + coalesce(as_decimal("wrapping"), 0) end
        as shipping_amount,
    as_integer("product_quantity") * (as_decimal("unit_price_tax_incl") - as_decimal("unit_price_tax_excl"))
    - part_of(
        coalesce(as_decimal("discounts_incl") - as_decimal("discounts"), 0),
        prestashop_line,
        sum(prestashop_line) over (
            partition by _load_date, _source_file, prestashop_line_order order by as_integer("id")
        ),
        sum(prestashop_line) over (partition by _load_date, _source_file, prestashop_line_order),
        row_number() over (partition by _load_date, _source_file, prestashop_line_order order by as_integer("id"))
    )
    + case
        when _position = 1
            then coalesce(as_decimal("shipping_incl") - as_decimal("shipping"), 0)
                + coalesce(as_decimal("wrapping_incl") - as_decimal("wrapping"), 0)
        else 0
    end as tax_amount
from bronze.order_rows
