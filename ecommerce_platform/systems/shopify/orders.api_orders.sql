-- Orders. Refunded ones count: what was paid back stands in returns. A cancelled or voided order does not.
-- Of several discount codes the first is taken.
select
    {prefix}as_text("name") as order_id,
    shopify_api_customer as customer_id,
    shopify_api_ordered_at as ordered_at,
    case
        when as_text("cancelled_at") is not null then 'canceled'
        when as_text("financial_status") in ('voided', 'expired') then 'canceled'
        when as_text("financial_status") = 'refunded' then 'returned'
        when as_text("fulfillment_status") = 'fulfilled' then 'shipped'
        when as_text("fulfillment_status") in ('partial', 'restocked') then 'processing'
        when as_text("financial_status") in ('paid', 'partially_refunded') then 'approved'
        when as_text("financial_status") in ('pending', 'authorized', 'partially_paid') then 'created'
        else as_text("financial_status")
    end as status,
    as_text("cancelled_at") is null and as_text("financial_status") not in ('voided', 'expired')
    as is_valid,
    as_boolean("test") as is_test,
    as_boolean("taxes_included") as tax_included,
    as_text("discount_codes"->>'$[0].code') as discount_code,
    upper(as_text("currency")) as currency,
    as_text("source_name") as channel,
    as_text("shipping_address"->>'$.zip') as postal_code
from bronze.api_orders
