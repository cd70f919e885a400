-- One row per experiment, person and arm; a person's records in one arm are one unit, from the first assignment on.
-- `_windows` says how many days of each experiment count.
with assigned as (

    select
        assignments.experiment_id,
        assignments.arm,
        coalesce(identities.person_id, assignments.customer_id) as person_id,
        min(assignments.assigned_at) as assigned_at
    from silver.experiment_assignments as assignments
    left join silver.customer_identities as identities on assignments.customer_id = identities.customer_id
    group by assignments.experiment_id, assignments.arm, coalesce(identities.person_id, assignments.customer_id)

),

placed as (

    select
        person_id,
        ordered_at,
        revenue_amount,
        profit_amount
    from gold.fct_orders
    where is_counted and person_id in (select assigned.person_id from assigned)

)

select
    units.experiment_id,
    units.person_id,
    units.arm,
    units.assigned_at,
    count(*) filter (where placed.ordered_at >= units.assigned_at) as orders,
    cast(
        coalesce(sum(placed.revenue_amount) filter (where placed.ordered_at >= units.assigned_at), 0) as double
    ) as revenue,
    cast(
        coalesce(sum(placed.profit_amount) filter (where placed.ordered_at >= units.assigned_at), 0) as double
    ) as profit,
    count(*) filter (where placed.ordered_at < units.assigned_at) as orders_before,
    cast(
        coalesce(sum(placed.revenue_amount) filter (where placed.ordered_at < units.assigned_at), 0) as double
    ) as revenue_before,
    cast(
        coalesce(sum(placed.profit_amount) filter (where placed.ordered_at < units.assigned_at), 0) as double
    ) as profit_before
from assigned as units
inner join _windows as windows on units.experiment_id = windows.experiment_id
left join placed
    on
        units.person_id = placed.person_id
        and placed.ordered_at >= units.assigned_at - to_days(windows.days)
        and placed.ordered_at < units.assigned_at + to_days(windows.days)
group by units.experiment_id, units.person_id, units.arm, units.assigned_at
order by units.experiment_id, units.person_id, units.arm
