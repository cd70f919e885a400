-- What an order was paid with: its total. A refund is no payment less; it stands in returns.
select
    woo_order as order_id,
    1 as payment_number,
    coalesce(as_text("payment_method"), 'unknown') as method,
    as_decimal("total") as amount,
    as_local_timestamp("date_paid_gmt", 'UTC') as paid_at
from bronze.orders
where as_text("date_paid_gmt") is not null or as_text("status") in ('processing', 'completed', 'refunded')
