-- Shipments, and of how many of them each thing is known that a comparison of carriers needs.
select
    count(*) as parcels,
    count(shipments.carrier) as carriers,
    count(coalesce(shipments.promised_at, orders.promised_at)) as promised,
    count(shipments.delivered_at) as delivered
from silver.shipments as shipments
left join gold.fct_orders as orders on shipments.order_id = orders.order_id
