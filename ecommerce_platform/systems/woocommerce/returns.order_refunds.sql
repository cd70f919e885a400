-- Money paid back; the order says neither for what nor when. Of one in another currency there is no amount.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("order_id") as order_id,
    case when woo_own_currency then -as_decimal("total") end as refund_amount,
    as_text("reason") as reason
from bronze.order_refunds
