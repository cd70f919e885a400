-- Refunds, each with its day.
select
    {prefix}as_text("balance_transaction_id") as return_id,
    stripe_moved_order as order_id,
    -stripe_gross as refund_amount,
    upper(as_text("currency")) as currency,
    stripe_moved_at as returned_at
from bronze.balance
where as_text("reporting_category") = 'refund'
