-- Money paid back is a transaction of its own; which one it takes back, the shop does not say.
select
    as_id(transaction_id) as return_id,
    as_id(transaction_id) as order_id,
    1 as line_number,
    1 as quantity,
    -as_decimal(revenue) as refund_amount,
    as_timestamp(date) as returned_at
from bronze.analytics_shop__transactions
where as_decimal(revenue) < 0
