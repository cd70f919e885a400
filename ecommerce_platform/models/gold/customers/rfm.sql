with customer_days as (

    select
        person_id,
        order_date,
        orders,
        revenue_amount
    from gold.fct_customer_days

),

orders as (

    select order_date
    from gold.fct_orders
    where is_counted

),

persons as (

    select
        person_id,
        min(order_date) as first_order_date,
        max(order_date) as last_order_date,
        count(*) as frequency,
        sum(orders) as orders,
        sum(revenue_amount) as monetary
    from customer_days
    group by person_id

),

newest as (

    select max(order_date) as newest_order_date
    from orders

),

everyone as (

    select count(*) as persons
    from persons

),

measured as (

    select
        persons.person_id,
        persons.first_order_date,
        persons.last_order_date,
        date_diff('day', persons.last_order_date, newest.newest_order_date) + 1 as recency_days,
        persons.frequency,
        persons.orders,
        cast(persons.monetary as decimal(18, 4)) as monetary,
        everyone.persons
    from persons
    cross join newest
    cross join everyone

),

-- How many persons are worse than each value. Counted per value, not per person: equal values cannot come apart,
-- and only the distinct values need sorting.
recency_ranks as (

    select
        recency_days,
        sum(count(*)) over (order by recency_days desc rows unbounded preceding) - count(*) as worse
    from measured
    group by recency_days

),

frequency_ranks as (

    select
        frequency,
        sum(count(*)) over (order by frequency rows unbounded preceding) - count(*) as worse
    from measured
    group by frequency

),

monetary_ranks as (

    select
        monetary,
        sum(count(*)) over (order by monetary rows unbounded preceding) - count(*) as worse
    from measured
    group by monetary

),

-- With less than a fifth of all persons worse the score is 1, with less than two fifths 2, and so on.
scored as (

    select
        measured.person_id,
        measured.first_order_date,
        measured.last_order_date,
        measured.recency_days,
        measured.frequency,
        measured.orders,
        measured.monetary,
        cast(floor(5 * recency_ranks.worse / nullif(measured.persons, 0)) + 1 as integer) as recency_score,
        cast(floor(5 * frequency_ranks.worse / nullif(measured.persons, 0)) + 1 as integer) as frequency_score,
        cast(floor(5 * monetary_ranks.worse / nullif(measured.persons, 0)) + 1 as integer) as monetary_score
    from measured
    inner join recency_ranks on measured.recency_days = recency_ranks.recency_days
    inner join frequency_ranks on measured.frequency = frequency_ranks.frequency
    inner join monetary_ranks on measured.monetary = monetary_ranks.monetary

),

-- Frequency and monetary say one thing together, how much of a customer this is; halves round up.
valued as (

    select
        *,
        cast(floor((frequency_score + monetary_score + 1) / 2) as integer) as value_score
    from scored

),

-- The table of the contract: rows are recency scores, columns value scores.
segments as (

    select
        recency_score,
        value_score,
        segment
    from (
        values
        (5, 5, 'Champions'), (5, 4, 'Champions'), (5, 3, 'Potential loyalists'), (5, 2, 'New'), (5, 1, 'New'),
        (4, 5, 'Champions'), (4, 4, 'Loyal'), (4, 3, 'Potential loyalists'), (4, 2, 'Promising'), (4, 1, 'Promising'),
        (3, 5, 'Loyal'), (3, 4, 'Loyal'), (3, 3, 'Needs attention'), (3, 2, 'About to sleep'), (3, 1, 'About to sleep'),
        (2, 5, 'At risk'), (2, 4, 'At risk'), (2, 3, 'At risk'), (2, 2, 'Hibernating'), (2, 1, 'Hibernating'),
        (1, 5, 'At risk'), (1, 4, 'At risk'), (1, 3, 'Hibernating'), (1, 2, 'Lost'), (1, 1, 'Lost')
    ) as s (recency_score, value_score, segment)

)

select
    valued.person_id,

    valued.recency_days,
    valued.frequency,
    valued.monetary,

    valued.recency_score,
    valued.frequency_score,
    valued.monetary_score,
    valued.value_score,
    segments.segment,

    cast(valued.orders as bigint) as orders,
    valued.first_order_date,
    valued.last_order_date
from valued
inner join segments
    on valued.recency_score = segments.recency_score and valued.value_score = segments.value_score
