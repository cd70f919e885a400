-- Items by their ids, or in the order of the export where it has none; without tax. The price of one is that of the item
-- before discounts over its units; what rounding takes off it the discount gives back. Shipping, fees and the tax of both
-- stand on the first item, fees with the shipping; fees below 0 are a discount.
select
    woo_row_order as order_id,
    coalesce(
        as_bigint("item_id"),
        row_number() over (partition by _load_date, _source_file, woo_row_order order by _source_row)
    ) as line_number,
    woo_row_product as product_id,
    as_integer("item_quantity") as quantity,
    coalesce(round(as_decimal("item_subtotal") / nullif(as_integer("item_quantity"), 0), 4), 0) as unit_price,
    as_integer("item_quantity")
    * coalesce(round(as_decimal("item_subtotal") / nullif(as_integer("item_quantity"), 0), 4), 0)
    - as_decimal("item_total")
    + case
        when row_number() over (partition by _load_date, _source_file, woo_row_order order by _source_row) = 1
            then greatest(-coalesce(as_decimal("fee_total"), 0), 0)
                + greatest(-coalesce(as_decimal("fee_tax_total"), 0), 0)
        else 0
    end as discount_amount,
    case
        when row_number() over (partition by _load_date, _source_file, woo_row_order order by _source_row) = 1
            then coalesce(as_decimal("shipping_total"), 0) + greatest(coalesce(as_decimal("fee_total"), 0), 0)
    end as shipping_amount,
    coalesce(as_decimal("item_total_tax"), 0)
    + case
        when row_number() over (partition by _load_date, _source_file, woo_row_order order by _source_row) = 1
            then coalesce(as_decimal("shipping_tax_total"), 0)
                + greatest(coalesce(as_decimal("fee_tax_total"), 0), 0)
        else 0
    end as tax_amount
from bronze.item_rows
