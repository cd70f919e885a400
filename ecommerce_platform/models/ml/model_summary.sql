with versions as (

    select
        model,
        version,
        trained_at,
        data_from,
        data_to,
        rows_trained,
        promoted,
        published_as,
        baseline,
        verdict,
        row_number() over (partition by model order by trained_at desc, version desc) as newest
    from ml.models

),

choices as (

    select
        model,
        version,
        row_number() over (partition by model order by change desc) as newest
    from ml.model_pins

),

in_force as (

    select
        versions.*,
        choices.version is not null as is_pinned
    from versions
    left join choices on versions.model = choices.model and choices.newest = 1
    where
        versions.version = choices.version
        or (choices.version is null and versions.newest = 1)

),

results as (

    select
        model,
        version,
        fold,
        metric,
        value,
        baseline_value,
        interval_low,
        interval_high,
        coalesce(decides, false) as decides
    from ml.evaluations
    where fold not like 'live %'

)

select
    in_force.model,
    coalesce(results.fold, '') as fold,
    coalesce(results.metric, '') as metric,
    in_force.version as model_version,
    in_force.is_pinned,
    in_force.trained_at,
    in_force.data_from,
    in_force.data_to,
    in_force.rows_trained,
    in_force.promoted,
    coalesce(in_force.published_as, in_force.model) as published_as,
    in_force.verdict,
    results.value,
    in_force.baseline,
    results.baseline_value,
    results.interval_low,
    results.interval_high,
    coalesce(results.decides, false) as decides
from in_force
left join results on in_force.model = results.model and in_force.version = results.version
