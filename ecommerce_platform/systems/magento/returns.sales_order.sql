-- Money paid back, in all.
select
    {prefix}as_text("entity_id") || '-refunds' as return_id,
    {prefix}as_text("entity_id") as order_id,
    as_decimal(nullif("base_total_refunded", '\N')) as refund_amount
from bronze.sales_order
where as_decimal(nullif("base_total_refunded", '\N')) > 0
