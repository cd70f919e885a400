-- What was paid: the order says how much, another table how.
select
    {prefix}as_text("entity_id") as order_id,
    1 as payment_number,
    'unknown' as method,
    coalesce(as_decimal(nullif("base_total_paid", '\N')), as_decimal(nullif("base_grand_total", '\N'))) as amount
from bronze.sales_order
where as_text("state") in ('processing', 'complete', 'closed')
