-- From the day after a count that found nothing to the day of the next count, in all places together.
with counts as (

    select
        product_id,
        snapshot_date,
        sum(on_hand) as on_hand
    from silver.inventory_snapshots
    group by product_id, snapshot_date

),

spells as (

    select
        product_id,
        on_hand,
        cast(snapshot_date + 1 as date) as first_date,
        lead(snapshot_date) over (partition by product_id order by snapshot_date) as last_date
    from counts

)

select
    product_id,
    first_date,
    last_date
from spells
where on_hand <= 0
