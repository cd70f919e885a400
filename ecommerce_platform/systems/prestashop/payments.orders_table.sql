-- What was paid of an order; what was paid back stands in returns.
select
    prestashop_table_order as order_id,
    1 as payment_number,
    as_text("payment") as method,
    as_decimal("total_paid_real") as amount
from bronze.orders_table
where as_decimal("total_paid_real") > 0
