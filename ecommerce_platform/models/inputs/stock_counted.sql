-- The newest count of each product, all places together.
with newest as (

    select
        product_id,
        location_id,
        on_hand,
        reorder_point,
        lead_time_days
    from silver.inventory_snapshots
    qualify row_number() over (partition by product_id, location_id order by snapshot_date desc) = 1

)

select
    product_id,
    cast(sum(on_hand) as bigint) as on_hand,
    cast(sum(reorder_point) as bigint) as reorder_point,
    max(lead_time_days) as lead_time_days
from newest
group by product_id
order by product_id
