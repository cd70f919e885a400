-- Units taken back or off the order, each line with its amount; where less was paid back than the lines come to, with its
-- part of that.
select
    {prefix}as_text("refund_id") || '-' || as_text("id") as return_id,
    {prefix}as_text("order_name") as order_id,
    as_bigint("line_item_id") % 2147483647 as line_number,
    as_integer("quantity") as quantity,
    (
        as_decimal("subtotal")
        + case when as_boolean("taxes_included") then 0 else coalesce(as_decimal("total_tax"), 0) end
    ) * coalesce(least(shopify_api_refunded / nullif(shopify_api_refund_lines, 0), 1), 1) as refund_amount,
    as_local_timestamp("refund_created_at") as returned_at
from bronze.api_refund_lines
where shopify_api_refunded > 0 and shopify_api_own_currency
