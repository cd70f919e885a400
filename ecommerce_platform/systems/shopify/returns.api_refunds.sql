-- What was paid back beyond the amounts of the refund's lines: shipping, goodwill.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("order_name") as order_id,
    shopify_api_refunded - (shopify_api_refund_lines) as refund_amount,
    as_text("note") as reason,
    as_local_timestamp("created_at") as returned_at
from bronze.api_refunds
where shopify_api_refunded > shopify_api_refund_lines
    and shopify_api_own_currency
