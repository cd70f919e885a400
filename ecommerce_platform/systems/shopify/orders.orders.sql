-- Orders, put together from their lines. What is said of an order stands on its first row, so max() finds it. Refunded
-- orders count: what was paid back stands in returns. A canceled or voided one does not. Prices include tax where the
-- subtotal and the shipping are the total already.
select
    shopify_order as order_id,
    max(shopify_customer) as customer_id,
    min(shopify_ordered_at) as ordered_at,
    min(as_local_timestamp("Paid at")) as approved_at,
    min(as_local_timestamp("Fulfilled at")) as shipped_at,
    case
        when max(as_text("Cancelled at")) is not null then 'canceled'
        when max(shopify_paid_status) in ('voided', 'expired') then 'canceled'
        when max(shopify_paid_status) = 'refunded' then 'returned'
        when max(lower(as_text("Fulfillment Status"))) in ('fulfilled', 'shipped') then 'shipped'
        when max(lower(as_text("Fulfillment Status"))) = 'partial' then 'processing'
        when max(shopify_paid_status) in ('paid', 'partially_refunded') then 'approved'
        when max(shopify_paid_status) in ('pending', 'authorized', 'partially_paid') then 'created'
        else max(shopify_paid_status)
    end as status,
    max(as_text("Cancelled at")) is null and max(shopify_paid_status) not in ('voided', 'expired') as is_valid,
    max(as_text("Discount Code")) as discount_code,
    max(upper(as_text("Currency"))) as currency,
    max(as_text("Source")) as channel,
    max(ltrim(as_text("Shipping Zip"), '''')) as postal_code,
    case
        when coalesce(max(as_decimal("Taxes")), 0) = 0 then null
        when max(as_decimal("Total")) = max(as_decimal("Subtotal")) + coalesce(max(as_decimal("Shipping")), 0) then true
        when
            max(as_decimal("Total"))
            = max(as_decimal("Subtotal")) + coalesce(max(as_decimal("Shipping")), 0) + max(as_decimal("Taxes"))
            then false
    end as tax_included
from bronze.orders
group by _load_date, _source_file, shopify_order
