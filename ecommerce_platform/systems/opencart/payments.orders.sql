-- What was paid of an order besides vouchers and store credit: its total.
select
    opencart_order as order_id,
    0 as payment_number,
    as_text("payment_code") as method,
    as_decimal("total") as amount
from bronze.orders
where opencart_state in (2, 3, 5, 9, 11, 12, 13, 15) and as_decimal("total") <> 0
