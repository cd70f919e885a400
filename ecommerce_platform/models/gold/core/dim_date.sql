with shop as (

    select start_date
    from silver.shop

),

orders as (

    select
        ordered_at,
        approved_at,
        shipped_at,
        delivered_at,
        promised_at
    from silver.orders

),

-- The last day that each table mentions.
mentions as (

    select cast(max(start_date) as timestamp) as last_at
    from shop
    union all
    select greatest(max(ordered_at), max(approved_at), max(shipped_at), max(delivered_at), max(promised_at)) as last_at
    from orders
    union all
    select max(paid_at) as last_at
    from silver.payments
    union all
    select greatest(max(shipped_at), max(promised_at), max(delivered_at)) as last_at
    from silver.shipments
    union all
    select greatest(max(created_at), max(answered_at)) as last_at
    from silver.reviews
    union all
    select max(returned_at) as last_at
    from silver.returns
    union all
    select max(registered_at) as last_at
    from silver.customers
    union all
    select max(launched_at) as last_at
    from silver.products
    union all
    select max(occurred_at) as last_at
    from silver.web_events
    union all
    select max(occurred_at) as last_at
    from silver.social_interactions
    union all
    select max(assigned_at) as last_at
    from silver.experiment_assignments
    union all
    select cast(max(end_date) as timestamp) as last_at
    from silver.campaigns
    union all
    select cast(max(spend_date) as timestamp) as last_at
    from silver.ad_spend
    union all
    select cast(max(snapshot_date) as timestamp) as last_at
    from silver.inventory_snapshots

),

last_mention as (

    select cast(max(last_at) as date) as last_date
    from mentions

),

order_days as (

    select
        cast(min(ordered_at) as date) as first_order_date,
        cast(max(ordered_at) as date) as last_order_date
    from orders

),

bounds as (

    select
        least(shop.start_date, order_days.first_order_date) as first_date,
        last_mention.last_date,
        coalesce(order_days.last_order_date, shop.start_date) as anchor_date
    from order_days
    cross join last_mention
    cross join shop

),

-- A promised delivery in the year 9999 is a typing error, not a reason for three million days: beyond the last
-- order the calendar follows what tables mention for two years at most.
capped as (

    select
        first_date,
        least(last_date, anchor_date + 730) as last_date
    from bounds

),

digits as (

    select digit
    from (values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) as d (digit)

),

-- 0 to 99,999 without a series function, which not every engine has as a table.
numbers as (

    select
        ones.digit + 10 * tens.digit + 100 * hundreds.digit + 1000 * thousands.digit
        + 10000 * ten_thousands.digit as number
    from digits as ones
    cross join digits as tens
    cross join digits as hundreds
    cross join digits as thousands
    cross join digits as ten_thousands

),

-- Counted backwards from the last day, so that a first day centuries ago costs the oldest days, not the newest.
days as (

    select cast(capped.last_date - numbers.number as date) as calendar_date
    from capped
    inner join numbers on numbers.number <= date_diff('day', capped.first_date, capped.last_date)

),

weeks as (

    select
        calendar_date,
        cast(date_trunc('week', calendar_date) as date) as week,
        cast(date_trunc('year', calendar_date) as date) as year_start_date
    from days

)

select
    calendar_date,

    cast(extract(year from calendar_date) as integer) as year,
    cast(extract(quarter from calendar_date) as integer) as quarter,
    cast(date_trunc('month', calendar_date) as date) as month,
    cast(extract(month from calendar_date) as integer) as month_number,
    strftime(calendar_date, '%B') as month_name,

    week,
    -- The week's Thursday decides to which year it belongs.
    cast(extract(year from week + 3) as integer) as iso_year,
    cast(extract(week from calendar_date) as integer) as iso_week,

    cast(extract(day from calendar_date) as integer) as day_of_month,
    cast(date_diff('day', year_start_date, calendar_date) + 1 as integer) as day_of_year,
    cast(date_diff('day', week, calendar_date) + 1 as integer) as day_of_week,
    strftime(calendar_date, '%A') as day_name,
    date_diff('day', week, calendar_date) >= 5 as is_weekend
from weeks
