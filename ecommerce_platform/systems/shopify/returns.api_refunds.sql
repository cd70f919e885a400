-- Refunds, each with all that was paid back or taken off the order, and the units of its lines. The line is named where
-- there is one alone. Where a payment was only voided nothing was paid back.
-- The note is no reason as a code: staff writes what it likes there, names too.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("order_name") as order_id,
    case
        when as_text("refund_line_items"->>'$[1].id') is null
            then as_bigint("refund_line_items"->>'$[0].line_item_id') % 2147483647
    end as line_number,
    as_decimal_sum("refund_line_items", '$[*]', '$.quantity') as quantity,
    shopify_api_refunded as refund_amount,
    as_local_timestamp("created_at") as returned_at
from bronze.api_refunds
