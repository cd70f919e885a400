select
    as_text(order_id) as order_id,
    as_integer(payment_sequential) as payment_number,
    as_text(payment_type) as method,
    as_integer(payment_installments) as installments,
    as_decimal(payment_value) as amount
from bronze.olist__order_payments
