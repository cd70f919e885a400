-- Orders. One that waits for its payment in the checkout (pending) does not count yet, one that was failed or cancelled
-- does not count; refunded ones do: what was paid back stands in returns. Of several coupons the first is taken.
select
    woo_order as order_id,
    woo_customer as customer_id,
    woo_created as ordered_at,
    as_local_timestamp("date_paid_gmt", 'UTC') as approved_at,
    as_local_timestamp("date_completed_gmt", 'UTC') as shipped_at,
    case as_text("status")
        when 'pending' then 'created'
        when 'checkout-draft' then 'created'
        when 'on-hold' then 'created'
        when 'processing' then 'processing'
        when 'completed' then 'shipped'
        when 'refunded' then 'returned'
        when 'cancelled' then 'canceled'
        when 'failed' then 'canceled'
        when 'trash' then 'canceled'
        else as_text("status")
    end as status,
    as_text("status") not in ('pending', 'checkout-draft', 'cancelled', 'failed', 'trash') as is_valid,
    as_text("coupon_lines"->>'$[0].code') as discount_code,
    upper(as_text("currency")) as currency,
    as_text("created_via") as channel,
    false as tax_included,
    coalesce(as_text("shipping"->>'$.postcode'), as_text("billing"->>'$.postcode')) as postal_code
from bronze.orders
