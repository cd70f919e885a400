-- Money paid back, refund by refund. The reason is no code: staff writes what it likes there, names too.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("parent_id") as order_id,
    as_decimal("amount") as refund_amount,
    as_local_timestamp("date_created_gmt", 'UTC') as returned_at
from bronze.refunds
