-- What an order was paid with: its total but for what is outstanding. A refund is no payment less; it stands in returns.
select
    shopify_order as order_id,
    1 as payment_number,
    coalesce(as_text("Payment Method"), 'unknown') as method,
    as_decimal("Total") - coalesce(as_decimal("Outstanding Balance"), 0) as amount,
    as_local_timestamp("Paid at") as paid_at
from bronze.orders
where shopify_paid_status in ('paid', 'partially_paid', 'partially_refunded', 'refunded')
