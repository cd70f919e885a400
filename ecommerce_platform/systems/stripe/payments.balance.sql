-- Charges, less what of them was not captured. An order may have several: they are told apart by a number made of the
-- id of the balance's change.
select
    stripe_balance_order as order_id,
    md5_number_lower(as_text("balance_transaction_id")) % 2147483647 as payment_number,
    coalesce(as_text("payment_method_type"), 'card') as method,
    as_decimal(replace("gross", ',', '.')) as amount,
    stripe_balance_created as paid_at
from bronze.balance
where as_text("reporting_category") in ('charge', 'partial_capture_reversal')
    and coalesce(upper(as_text("currency")), '{currency}') = '{currency}'
