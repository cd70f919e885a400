select
    as_text(order_id) as order_id,
    as_text(customer_id) as customer_id,
    as_timestamp(order_purchase_timestamp) as ordered_at,
    as_timestamp(order_approved_at) as approved_at,
    as_timestamp(order_delivered_carrier_date) as shipped_at,
    as_timestamp(order_delivered_customer_date) as delivered_at,
    as_timestamp(order_estimated_delivery_date) as promised_at,
    as_text(order_status) as status,
    -- Olist has no flag of its own: everything counts but what was called off or could not be supplied.
    as_text(order_status) not in ('canceled', 'unavailable') as is_valid
from bronze.olist__orders
