-- What Stripe takes for a payment, in the currency that it converts the payment to.
select
    {prefix}as_text("id") || '-fee' as fee_id,
    stripe_order as order_id,
    'payment' as fee_type,
    as_decimal(stripe_fee) as amount,
    upper(coalesce(as_text("Converted Currency"), as_text("Currency"))) as currency,
    stripe_created as charged_at
from bronze.payments
where as_decimal(stripe_fee) <> 0
