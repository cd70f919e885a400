-- What was paid back of a payment, in all.
select
    {prefix}as_text("id") || '-refunds' as return_id,
    stripe_order as order_id,
    as_decimal(stripe_refunded) as refund_amount,
    upper(as_text("Currency")) as currency,
    as_local_timestamp("Refunded date (UTC)", 'UTC') as returned_at
from bronze.payments
where as_decimal(stripe_refunded) > 0
