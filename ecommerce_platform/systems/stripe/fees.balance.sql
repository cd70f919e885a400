-- What Stripe takes for a transaction or besides, and what disputes cost until they are won.
select
    {prefix}as_text("balance_transaction_id") || '-fee' as fee_id,
    case when as_text("reporting_category") <> 'fee' then stripe_moved_order end as order_id,
    case
        when as_text("reporting_category") in ('fee', 'dispute', 'dispute_reversal') then as_text("reporting_category")
        else 'payment'
    end as fee_type,
    stripe_taken as amount,
    upper(as_text("currency")) as currency,
    stripe_moved_at as charged_at
from bronze.balance
where stripe_taken <> 0
