-- An unknown state passes through as it is, so that the contract's accepted values reject it by name. Customers of an
-- unknown system stay apart from all others: the systems give the same numbers to different people.
select
    as_text(order_no) as order_id,
    case as_text(customer_system)
        when 'CRM' then 'crm-'
        when 'SHOP' then 'web-'
        else coalesce(lower(as_text(customer_system)), 'unknown') || '-'
    end || as_text(customer_no) as customer_id,
    as_timestamp(placed) as ordered_at,
    as_timestamp(paid) as approved_at,
    as_timestamp(sent) as shipped_at,
    as_timestamp(received) as delivered_at,
    as_timestamp(due) as promised_at,
    case as_text(state)
        when 'new' then 'created'
        when 'in_progress' then 'processing'
        when 'sent' then 'shipped'
        when 'delivered' then 'delivered'
        when 'cancelled' then 'canceled'
        when 'not_available' then 'unavailable'
        else as_text(state)
    end as status,
    as_text(state) not in ('cancelled', 'not_available') as is_valid,
    as_text(channel) as channel,
    as_text(device) as device,
    as_text(promo) as campaign_id,
    as_text(ship_zip) as postal_code
from bronze.synthetic__orders
