-- Parcels by region and carrier of whom it is known whether they came late: promised, and by now delivered or overdue.
with parcels as (

    select
        shipments.carrier,
        shipments.delivered_at,
        coalesce(orders.region, 'unknown') as region,
        cast(shipments.cost_amount as double) as cost,
        cast(coalesce(shipments.promised_at, orders.promised_at) as date) as promised,
        date_diff('day', cast(shipments.shipped_at as date), cast(shipments.delivered_at as date))
        + (extract(hour from shipments.delivered_at) - extract(hour from shipments.shipped_at)) / 24.0 as days
    from silver.shipments as shipments
    inner join gold.fct_orders as orders on shipments.order_id = orders.order_id
    where orders.is_counted

),

newest as (

    select max(cast(delivered_at as date)) as day
    from parcels

)

select
    parcels.region,
    parcels.carrier,
    count(*) as parcels,
    count(*) filter (
        where parcels.delivered_at is null or cast(parcels.delivered_at as date) > parcels.promised
    ) as late,
    cast(avg(parcels.days) as double) as days,
    cast(avg(parcels.cost) as double) as cost
from parcels
cross join newest
where parcels.carrier is not null and parcels.promised > newest.day - $days and parcels.promised < newest.day
group by parcels.region, parcels.carrier
order by parcels.region, parcels.carrier
