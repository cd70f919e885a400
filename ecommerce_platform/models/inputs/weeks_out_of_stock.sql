-- Weeks that began with an empty shelf: what was sold then is not what was wanted.
with counts as (

    select
        product_id,
        snapshot_date,
        sum(on_hand) as on_hand
    from silver.inventory_snapshots
    group by product_id, snapshot_date

),

newest as (

    select max(order_date) as last_date
    from gold.fct_order_items
    where is_valid

)

select distinct
    counts.product_id,
    cast(floor(date_diff('day', counts.snapshot_date + 1, newest.last_date) / 7) as integer) as week
from counts
cross join newest
where
    counts.on_hand <= 0
    and counts.snapshot_date > newest.last_date - $days
    and counts.snapshot_date < newest.last_date
