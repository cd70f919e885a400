with shipments as (

    select
        shipment_id,
        order_id,
        coalesce(carrier, 'unknown') as carrier,
        shipped_at,
        promised_at,
        delivered_at,
        cost_amount
    from silver.shipments

),

test_orders as (

    select order_id
    from silver.orders
    where is_test

),

orders as (

    select
        order_id,
        order_date,
        region,
        promised_at
    from gold.fct_orders

),

-- A parcel whose order is missing has no region yet; it is a parcel all the same.
parcels as (

    select
        shipments.carrier,
        coalesce(orders.region, 'unknown') as region,
        shipments.cost_amount,
        cast(shipments.delivered_at as date) as delivered_date,
        date_diff('day', orders.order_date, cast(shipments.delivered_at as date)) as delivery_days,
        date_diff('day', cast(shipments.shipped_at as date), cast(shipments.delivered_at as date)) as transit_days,
        date_diff(
            'day',
            cast(coalesce(shipments.promised_at, orders.promised_at) as date),
            cast(shipments.delivered_at as date)
        ) as days_late
    from shipments
    left join orders on shipments.order_id = orders.order_id
    left join test_orders on shipments.order_id = test_orders.order_id
    where test_orders.order_id is null

)

select
    carrier,
    region,

    count(*) as parcels,
    count(delivered_date) as delivered_parcels,
    sum(delivery_days) / nullif(count(delivery_days), 0) as avg_delivery_days,
    median(cast(delivery_days as double)) as median_delivery_days,
    max(delivery_days) as longest_delivery_days,
    sum(transit_days) / nullif(count(transit_days), 0) as avg_transit_days,
    count(days_late) as promised_parcels,
    count(*) filter (where days_late <= 0) / nullif(count(days_late), 0) as on_time_rate,
    sum(case when days_late > 0 then days_late end) / nullif(count(*) filter (where days_late > 0), 0) as avg_days_late,
    cast(sum(cost_amount) as decimal(18, 4)) as cost_amount,
    cast(sum(cost_amount) / nullif(count(cost_amount), 0) as decimal(18, 4)) as cost_per_parcel
from parcels
group by carrier, region
