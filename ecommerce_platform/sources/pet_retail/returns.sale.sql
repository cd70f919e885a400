-- Goods taken back, with the number of the line that says so: numbered among all lines of the invoice.
select
    order_key
    || '-'
    || row_number() over (
        partition by _load_date, order_key
        order by
            sold_at, as_text(stock_code), as_integer(quantity), as_decimal(unit_price), as_decimal(sale),
            as_text(description), as_text(customer_id)
    ) as return_id,
    order_key as order_id,
    row_number() over (
        partition by _load_date, order_key
        order by
            sold_at, as_text(stock_code), as_integer(quantity), as_decimal(unit_price), as_decimal(sale),
            as_text(description), as_text(customer_id)
    ) as line_number,
    case when as_integer(quantity) < 0 then -as_integer(quantity) end as quantity,
    case when as_integer(quantity) < 0 then -as_decimal(sale) end as refund_amount,
    sold_at as returned_at
from bronze.pet_retail__sale
qualify as_integer(quantity) < 0
