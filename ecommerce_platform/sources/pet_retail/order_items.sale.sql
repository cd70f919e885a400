-- Lines have no number, and an invoice may list a product twice: they are numbered by what they say. Goods taken back
-- (silver.returns has them, too) and entries without goods are lines, but no sales.
select
    order_key as order_id,
    row_number() over (
        partition by _load_date, order_key
        order by
            sold_at, as_text(stock_code), as_integer(quantity), as_decimal(unit_price), as_decimal(sale),
            as_text(description), as_text(customer_id)
    ) as line_number,
    as_text(stock_code) as product_id,
    as_integer(quantity) as quantity,
    as_decimal(unit_price) as unit_price,
    as_integer(quantity) > 0 as is_valid
from bronze.pet_retail__sale
