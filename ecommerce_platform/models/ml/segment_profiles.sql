with segments as (

    select
        person_id,
        segment,
        segment_name,
        model,
        model_version
    from ml.segments

),

rfm as (

    select
        person_id,
        recency_days,
        frequency,
        monetary
    from gold.rfm

),

profiles as (

    select
        segments.segment,
        segments.segment_name,
        segments.model,
        segments.model_version,
        count(*) as persons,
        avg(rfm.recency_days) as mean_recency_days,
        median(cast(rfm.recency_days as double)) as median_recency_days,
        avg(rfm.frequency) as mean_frequency,
        median(cast(rfm.frequency as double)) as median_frequency,
        avg(cast(rfm.monetary as double)) as mean_monetary,
        median(cast(rfm.monetary as double)) as median_monetary,
        cast(sum(rfm.monetary) as decimal(18, 4)) as revenue_amount
    from segments
    inner join rfm on segments.person_id = rfm.person_id
    group by segments.segment, segments.segment_name, segments.model, segments.model_version

)

select
    segment,
    segment_name,
    persons,
    cast(persons as double) / nullif(cast(sum(persons) over () as double), 0) as person_share,
    mean_recency_days,
    median_recency_days,
    mean_frequency,
    median_frequency,
    mean_monetary,
    median_monetary,
    revenue_amount,
    cast(revenue_amount as double) / nullif(cast(sum(revenue_amount) over () as double), 0) as revenue_share,
    model,
    model_version
from profiles
