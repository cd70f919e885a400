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

),

-- Against the average person: a median would hide a segment of few large customers.
compared as (

    select
        *,
        cast(revenue_amount as double) / nullif(cast(sum(revenue_amount) over () as double), 0) as revenue_share,
        mean_monetary * sum(persons) over () / nullif(cast(sum(revenue_amount) over () as double), 0) as value_index,
        mean_recency_days * sum(persons) over () / nullif(sum(mean_recency_days * persons) over (), 0) as recency_index,
        mean_frequency * sum(persons) over () / nullif(sum(mean_frequency * persons) over (), 0) as frequency_index
    from profiles

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
    revenue_share,
    value_index,
    recency_index,
    frequency_index,
    case
        when value_index >= 1.25 and recency_index > 1.1
            then 'Win back: a personal offer before they are gone; they were worth the most.'
        when value_index >= 1.25 and frequency_index >= 1.1
            then 'Keep: early access and service rather than discounts; they come and pay anyway.'
        when value_index >= 1.25
            then 'Bring back a second time: recommend what goes with their large order within weeks of it.'
        when recency_index > 1.1 and value_index < 0.75
            then 'Let rest: only what costs nothing; each letter costs more than they bring.'
        when recency_index > 1.1
            then 'Remind: one letter with what is new since their last order, then rest.'
        when frequency_index >= 1.1
            then 'Raise the basket: bundles and a free delivery from just above their usual order.'
        else 'Develop: a reason for the next order soon, while they remember the last.'
    end as recommendation,
    model,
    model_version
from compared
