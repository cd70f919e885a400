with shop as (

    select start_date
    from silver.shop

),

-- Valid or not: an order that was canceled shows all the same that its day was delivered.
-- Weekdays count from Monday, 0.
days as (

    select
        order_date,
        cast(date_trunc('month', order_date) as date) as month,
        ((date_diff('day', date '1900-01-01', order_date) % 7) + 7) % 7 as weekday,
        count(*) as orders
    from gold.fct_orders
    group by order_date

),

-- Orders are known from the source's first day, or the first order if that is earlier, to the last order.
known as (

    select
        least(min(shop.start_date), min(days.order_date)) as first_date,
        max(days.order_date) as last_date
    from days
    cross join shop

),

months as (

    select
        month,
        sum(orders) as orders,
        count(*) as covered_days
    from days
    group by month

),

-- Each month's days, those of them before the first known day, and those behind the last.
spans as (

    select
        months.month,
        months.orders,
        months.covered_days,
        ((date_diff('day', date '1900-01-01', months.month) % 7) + 7) % 7 as first_weekday,
        ((date_diff('day', date '1900-01-01', known.last_date) % 7) + 8) % 7 as weekday_after,
        date_diff('day', months.month, cast(months.month + interval 1 month as date)) as days_of_month,
        greatest(date_diff('day', months.month, known.first_date), 0) as days_before,
        greatest(
            date_diff('day', known.last_date, cast(months.month + interval 1 month - interval 1 day as date)), 0
        ) as days_behind
    from months
    cross join known

),

weekdays as (

    select weekday
    from (values (0), (1), (2), (3), (4), (5), (6)) as w (weekday)

),

-- How often a weekday occurs among so many days in a row: once a week, and once more where it is among the days left.
counted as (

    select
        spans.month,
        spans.orders,
        weekdays.weekday,
        spans.days_of_month // 7 + case
            when (weekdays.weekday - spans.first_weekday + 7) % 7 < spans.days_of_month % 7 then 1 else 0
        end as days_of_month,
        spans.days_before // 7 + case
            when (weekdays.weekday - spans.first_weekday + 7) % 7 < spans.days_before % 7 then 1 else 0
        end as days_before,
        spans.days_behind // 7 + case
            when (weekdays.weekday - spans.weekday_after + 7) % 7 < spans.days_behind % 7 then 1 else 0
        end as days_behind
    from spans
    cross join weekdays

),

covered as (

    select
        month,
        weekday,
        count(*) as covered_days
    from days
    group by month, weekday

),

-- What is usual for a weekday: the share of its days with orders in the month of an average order, so that months with
-- next to nothing, of which there may be many, say next to nothing.
usual as (

    select
        counted.weekday,
        sum(counted.orders * coalesce(covered.covered_days, 0) / nullif(cast(counted.days_of_month as double), 0))
        / nullif(sum(counted.orders), 0) as share
    from counted
    left join covered on counted.month = covered.month and counted.weekday = covered.weekday
    group by counted.weekday

),

expected as (

    select
        counted.month,
        sum(counted.days_of_month * usual.share) as expected_days,
        sum(counted.days_of_month * usual.share * (1 - usual.share)) as variance,
        sum(counted.days_before * usual.share) as expected_before,
        sum(counted.days_behind * usual.share) as expected_behind
    from counted
    inner join usual on counted.weekday = usual.weekday
    group by counted.month

)

select
    spans.month,
    cast(spans.days_of_month as bigint) as days,
    cast(spans.covered_days as bigint) as covered_days,
    expected.expected_days,
    expected.expected_before < 0.1
    and expected.expected_behind < 0.1
    and spans.covered_days
    >= expected.expected_days - greatest(0.1 * expected.expected_days, 3 * sqrt(greatest(expected.variance, 0)))
        as is_complete
from spans
inner join expected on spans.month = expected.month
