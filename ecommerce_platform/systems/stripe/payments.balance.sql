-- Charges. One that failed later, a part that was not captured, and a refund that did not arrive are payments of their own,
-- by their signs, so that an order's payments come to what was kept.
select
    stripe_moved_order as order_id,
    md5_number_lower(as_text("balance_transaction_id")) % 2147483647 as payment_number,
    coalesce(as_text("payment_method_type"), 'card') as method,
    stripe_gross as amount,
    upper(as_text("currency")) as currency,
    stripe_moved_at as paid_at
from bronze.balance
where as_text("reporting_category") in ('charge', 'charge_failure', 'partial_capture_reversal', 'refund_failure')
