-- What visitors did, as far as it is a step on the way to an order. The number of an event is made of what tells it from
-- others; a session's number is its visitor's own.
select
    md5(
        concat_ws(
            '/', as_text("user_pseudo_id"), as_text("event_timestamp"), as_text("event_name"), as_text("stream_id"),
            as_text("event_bundle_sequence_id"), as_text("batch_page_id"), as_text("batch_ordering_id"),
            as_text("batch_event_index")
        )
    ) as event_id,
    concat_ws('-', as_text("user_pseudo_id"), floor(ga4_session)) as session_id,
    as_text("user_pseudo_id") as visitor_id,
    as_text("user_id") as customer_id,
    ga4_at as occurred_at,
    case as_text("event_name")
        when 'page_view' then 'page_view'
        when 'view_item' then 'product_view'
        when 'add_to_cart' then 'add_to_cart'
        when 'begin_checkout' then 'checkout'
        when 'purchase' then 'purchase'
    end as event_type,
    case when as_text("event_name") in ('view_item', 'add_to_cart') then as_text("items"->>'$[0].item_id') end as product_id,
    case when as_text("event_name") = 'purchase' then as_text("ecommerce"->>'$.transaction_id') end as order_id,
    as_text("collected_traffic_source"->>'$.manual_medium') as channel,
    as_text("device"->>'$.category') as device
from bronze.events
where as_text("event_name") in ('page_view', 'view_item', 'add_to_cart', 'begin_checkout', 'purchase')
    and as_text("user_pseudo_id") is not null and ga4_session is not null
