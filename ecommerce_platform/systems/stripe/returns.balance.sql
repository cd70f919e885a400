-- What was paid back, refund by refund.
select
    {prefix}as_text("balance_transaction_id") as return_id,
    stripe_balance_order as order_id,
    -as_decimal(replace("gross", ',', '.')) as refund_amount,
    stripe_balance_created as returned_at
from bronze.balance
where as_text("reporting_category") = 'refund' and coalesce(upper(as_text("currency")), '{currency}') = '{currency}'
