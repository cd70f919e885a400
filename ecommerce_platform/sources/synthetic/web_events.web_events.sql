select
    as_text(event_id) as event_id,
    as_text(session) as session_id,
    as_text(visitor) as visitor_id,
    'web-' || as_text(login) as customer_id,
    as_timestamp(ts) as occurred_at,
    as_text(event) as event_type,
    as_text(item) as product_id,
    as_text(order_no) as order_id,
    as_text(source) as channel,
    as_text(utm_campaign) as campaign_id,
    as_text(device) as device
from bronze.synthetic__web_events
