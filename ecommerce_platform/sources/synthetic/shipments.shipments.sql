select
    as_text(parcel_no) as shipment_id,
    as_text(order_no) as order_id,
    as_text(carrier) as carrier,
    as_timestamp_format(handed_over, '%d.%m.%Y %H:%M') as shipped_at,
    as_timestamp_format(due, '%d.%m.%Y') as promised_at,
    as_timestamp_format(arrived, '%d.%m.%Y %H:%M') as delivered_at,
    as_decimal(freight_cost) as cost_amount,
    as_text(state) as status
from bronze.synthetic__shipments
