select
    as_text(order_no) as order_id,
    as_integer(seq) as payment_number,
    as_text(method) as method,
    as_integer(instalments) as installments,
    as_decimal_comma(amount) as amount,
    as_timestamp(paid_on) as paid_at
from bronze.synthetic__payments
