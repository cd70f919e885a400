-- Money paid back; the order says neither for what nor when.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("order_id") as order_id,
    -as_decimal("total") as refund_amount,
    as_text("reason") as reason
from bronze.order_refunds
