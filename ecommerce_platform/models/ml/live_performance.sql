with live as (

    select
        model,
        version,
        metric,
        cast(substr(fold, 6) as date) as scored_on,
        value,
        baseline,
        baseline_value,
        interval_low,
        interval_high,
        coalesce(lower_is_better, false) as lower_is_better
    from ml.evaluations
    where fold like 'live %'

),

-- What the card promised: the newest fold that the version was judged on before it scored.
promised as (

    select
        model,
        version,
        metric,
        max_by(value, fold) as promised_value
    from ml.evaluations
    where fold not like 'live %'
    group by model, version, metric

)

select
    live.model,
    live.version as model_version,
    live.scored_on,
    live.metric,
    live.value,
    promised.promised_value,
    live.baseline,
    live.baseline_value,
    live.interval_low,
    live.interval_high,
    live.lower_is_better,
    case
        when live.lower_is_better then coalesce(live.interval_low > 0, false)
        else coalesce(live.interval_high < 0, false)
    end as is_worse_than_baseline
from live
left join promised
    on live.model = promised.model and live.version = promised.version and live.metric = promised.metric
