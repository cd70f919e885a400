-- Payments that were captured; what was paid back of one stands in returns. An order may have several: they are told
-- apart by a number made of the payment's id.
select
    stripe_order as order_id,
    md5_number_lower(as_text("id")) % 2147483647 as payment_number,
    coalesce(as_text("Card Brand"), 'card') as method,
    as_decimal(stripe_amount) as amount,
    upper(as_text("Currency")) as currency,
    stripe_created as paid_at
from bronze.payments
where as_boolean("Captured") and lower(as_text("Status")) <> 'failed'
