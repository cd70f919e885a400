with orders as (

    select
        order_id,
        person_id,
        order_date,
        ordered_at,
        delivered_at,
        days_late,
        region,
        revenue_amount
    from gold.fct_orders
    where is_counted and person_id is not null

),

newest as (

    select max(ordered_at) as last_at
    from gold.fct_orders

),

-- One row per person, so that nobody counts twice.
first_orders as (

    select *
    from orders
    qualify row_number() over (partition by person_id order by ordered_at, order_id) = 1

),

categories as (

    select
        items.order_id,
        products.category
    from gold.fct_order_items as items
    inner join first_orders on items.order_id = first_orders.order_id
    left join gold.dim_product as products on items.product_id = products.product_id
    where items.is_valid
    group by items.order_id, products.category
    qualify
        row_number() over (
            partition by items.order_id order by sum(items.revenue_amount) desc, products.category nulls last
        ) = 1

),

-- Thirds of the first baskets; equal ones stand in one.
baskets as (

    select
        revenue_amount,
        floor(
            3 * (sum(count(*)) over (order by revenue_amount rows unbounded preceding) - count(*))
            / nullif(cast(sum(count(*)) over () as double), 0)
        ) as basket
    from first_orders
    group by revenue_amount

),

scores as (

    select
        reviews.order_id,
        min(struct_pack(created_at := reviews.created_at, score := reviews.score)).score as score,
        min(reviews.created_at) as created_at
    from silver.reviews as reviews
    where reviews.created_at is not null
    group by reviews.order_id

),

described as (

    select
        first_orders.person_id,
        first_orders.delivered_at,
        first_orders.days_late,
        scores.score,
        case when scores.score is not null then greatest(first_orders.delivered_at, scores.created_at) end
            as reviewed_at,
        cast(date_trunc('month', first_orders.order_date) as date) as month,
        coalesce(first_orders.region, 'unknown') as region,
        coalesce(categories.category, 'unknown') as category,
        baskets.basket
    from first_orders
    inner join baskets on first_orders.revenue_amount = baskets.revenue_amount
    left join categories on first_orders.order_id = categories.order_id
    left join scores on first_orders.order_id = scores.order_id

),

-- Who was exposed to what, and from when on they are followed: from the delivery, or from the review where that is what
-- is looked at. Lateness is never adjusted for the score, which it causes; the score is for lateness, which may cause
-- both.
exposed as (

    select
        person_id,
        'lateness' as exposure,
        case
            when days_late > 3 then 'more than 3 days late'
            when days_late > 0 then '1 to 3 days late'
            else 'on time'
        end as level,
        'on time' as reference,
        0 as adjusted_lateness,
        delivered_at as start_at,
        month,
        region,
        category,
        basket
    from described
    where days_late is not null
    union all
    select
        person_id,
        'late' as exposure,
        case when days_late > 0 then 'late' else 'on time' end as level,
        'on time' as reference,
        0 as adjusted_lateness,
        delivered_at as start_at,
        month,
        region,
        category,
        basket
    from described
    where days_late is not null
    union all
    select
        person_id,
        'review_score' as exposure,
        cast(score as varchar) as level,
        '5' as reference,
        case when days_late > 0 then 1 else 0 end as adjusted_lateness,
        reviewed_at as start_at,
        month,
        region,
        category,
        basket
    from described
    where score is not null and delivered_at is not null

),

-- What they order before is no outcome; whoever is not followed for all of the 90 days is left out and counted.
returned as (

    select
        exposed.person_id,
        exposed.exposure
    from exposed
    inner join orders on exposed.person_id = orders.person_id
    where orders.ordered_at > exposed.start_at and orders.ordered_at <= exposed.start_at + interval 90 day
    group by exposed.person_id, exposed.exposure

),

followed as (

    select
        exposed.*,
        exposed.start_at + interval 90 day <= newest.last_at as is_followed,
        case when returned.person_id is null then 0 else 1 end as came_back
    from exposed
    cross join newest
    left join returned on exposed.person_id = returned.person_id and exposed.exposure = returned.exposure

),

levels as (

    select
        exposure,
        level,
        min(reference) as reference,
        count(*) filter (where is_followed) as persons,
        count(*) filter (where not is_followed) as persons_left_out,
        coalesce(sum(came_back) filter (where is_followed), 0) as persons_back
    from followed
    group by exposure, level

),

cells as (

    select
        exposure,
        level,
        month,
        region,
        category,
        basket,
        adjusted_lateness,
        count(*) as persons,
        sum(came_back) as back
    from followed
    where is_followed
    group by exposure, level, month, region, category, basket, adjusted_lateness

),

-- Like is compared with like: a level and its reference within the same month, region, category and basket.
strata as (

    select
        levels.exposure,
        levels.level,
        cells.persons as n,
        cells.back as a,
        beside.persons as n_beside,
        beside.back as b,
        cast(cells.persons + beside.persons as double) as everyone
    from levels
    inner join cells on levels.exposure = cells.exposure and levels.level = cells.level
    inner join cells as beside
        on
            levels.exposure = beside.exposure
            and levels.reference = beside.level
            and cells.month = beside.month
            and cells.region = beside.region
            and cells.category = beside.category
            and cells.basket = beside.basket
            and cells.adjusted_lateness = beside.adjusted_lateness
    where levels.level <> levels.reference

),

-- Mantel and Haenszel's ratio with Greenland and Robins' variance; in decimals, so that sums do not depend on order.
pooled as (

    select
        exposure,
        level,
        sum(n) as persons_compared,
        cast(sum(cast(a * n_beside / nullif(everyone, 0) as decimal(30, 10))) as double) as r,
        cast(sum(cast(b * n / nullif(everyone, 0) as decimal(30, 10))) as double) as s,
        cast(
            sum(
                cast(
                    (cast(a + b as double) * n * n_beside - cast(a as double) * b * everyone)
                    / nullif(everyone * everyone, 0) as decimal(30, 10)
                )
            ) as double
        ) as v
    from strata
    group by exposure, level

),

compared as (

    select
        levels.exposure,
        levels.level,
        levels.reference,
        levels.persons,
        levels.persons_left_out,
        levels.persons_back,
        levels.persons_back / nullif(cast(levels.persons as double), 0) as repeat_rate,
        beside.persons_back / nullif(cast(beside.persons as double), 0) as repeat_rate_of_reference,
        case
            when levels.level <> levels.reference and levels.persons_back > 0 and beside.persons_back > 0
                then
                    sqrt(
                        1 / nullif(cast(levels.persons_back as double), 0)
                        - 1 / nullif(cast(levels.persons as double), 0)
                        + 1 / nullif(cast(beside.persons_back as double), 0)
                        - 1 / nullif(cast(beside.persons as double), 0)
                    )
        end as raw_error,
        pooled.persons_compared,
        pooled.r / nullif(pooled.s, 0) as adjusted_ratio,
        sqrt(pooled.v / nullif(pooled.r * pooled.s, 0)) as adjusted_error
    from levels
    inner join levels as beside on levels.exposure = beside.exposure and levels.reference = beside.level
    left join pooled on levels.exposure = pooled.exposure and levels.level = pooled.level

),

bounded as (

    select
        *,
        case when level <> reference then repeat_rate / nullif(repeat_rate_of_reference, 0) end as raw_ratio,
        adjusted_ratio * exp(-1.96 * adjusted_error) as adjusted_low,
        adjusted_ratio * exp(1.96 * adjusted_error) as adjusted_high
    from compared

),

-- How strongly something unmeasured would have to go with both, to be all there is to it; of the bound nearer to 1 too.
explained as (

    select
        *,
        case when adjusted_ratio >= 1 then adjusted_ratio else 1 / nullif(adjusted_ratio, 0) end as away,
        case
            when adjusted_low > 1 then adjusted_low
            when adjusted_high < 1 then 1 / nullif(adjusted_high, 0)
            when adjusted_low is not null then 1
        end as away_bound
    from bounded

)

select
    exposure,
    level,

    reference,
    persons,
    persons_left_out,
    cast(persons_back as bigint) as persons_back,
    repeat_rate,
    raw_ratio,
    raw_ratio * exp(-1.96 * raw_error) as raw_ratio_low,
    raw_ratio * exp(1.96 * raw_error) as raw_ratio_high,

    cast(coalesce(persons_compared, 0) as bigint) as persons_compared,
    adjusted_ratio,
    adjusted_low as adjusted_ratio_low,
    adjusted_high as adjusted_ratio_high,
    away + sqrt(greatest(away * (away - 1), 0)) as e_value,
    away_bound + sqrt(greatest(away_bound * (away_bound - 1), 0)) as e_value_of_bound
from explained
