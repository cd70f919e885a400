-- The arms of every experiment, and when the first and the last customer was put into one of them.
select
    experiment_id,
    arm,
    min(min(assigned_at)) over (partition by experiment_id) as first_at,
    max(max(assigned_at)) over (partition by experiment_id) as last_at
from silver.experiment_assignments
group by experiment_id, arm
order by experiment_id, arm
