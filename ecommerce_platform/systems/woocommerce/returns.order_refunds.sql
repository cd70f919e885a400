-- Money paid back; the order says neither for what nor when. The reason is no code: staff writes what it likes there,
-- names too.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("order_id") as order_id,
    -as_decimal("total") as refund_amount
from bronze.order_refunds
