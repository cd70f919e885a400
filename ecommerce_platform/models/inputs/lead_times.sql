with counts as (

    select
        product_id,
        snapshot_date,
        max(lead_time_days) as lead_time_days
    from silver.inventory_snapshots
    where lead_time_days is not null
    group by product_id, snapshot_date

),

numbered as (

    select
        product_id,
        lead_time_days,
        row_number() over (partition by product_id order by snapshot_date desc) as number
    from counts

)

select
    product_id,
    lead_time_days
from numbered
where number = 1
