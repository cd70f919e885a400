select
    as_id(transaction_id) as order_id,
    1 as payment_number,
    as_text(payment_method) as method,
    as_decimal(revenue) as amount,
    as_timestamp(date) as paid_at
from bronze.analytics_shop__transactions
where as_text(payment_method) is not null and as_text(revenue) is not null
