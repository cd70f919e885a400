-- Olist keeps one parcel per order, on the order itself.
select
    as_text(order_id) as shipment_id,
    as_text(order_id) as order_id,
    as_timestamp(order_delivered_carrier_date) as shipped_at,
    as_timestamp(order_estimated_delivery_date) as promised_at,
    as_timestamp(order_delivered_customer_date) as delivered_at,
    as_text(order_status) as status
from bronze.olist__orders
