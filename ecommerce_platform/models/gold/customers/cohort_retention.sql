with customer_days as (

    select
        person_id,
        order_date,
        day_number,
        orders,
        revenue_amount
    from gold.fct_customer_days

),

coverage as (

    select
        month,
        is_complete
    from gold.month_coverage

),

last_order as (

    select cast(date_trunc('month', max(order_date)) as date) as last_month
    from gold.fct_orders

),

first_days as (

    select
        person_id,
        cast(date_trunc('month', order_date) as date) as cohort_month
    from customer_days
    where day_number = 1

),

cohorts as (

    select
        cohort_month,
        count(*) as customers
    from first_days
    group by cohort_month

),

first_cohort as (

    select min(cohort_month) as cohort_month
    from cohorts

),

-- Every month from the first cohort on, numbered, also those in which nobody bought.
months as (

    select
        days.month,
        row_number() over (order by days.month) - 1 as number
    from (select distinct month from gold.dim_date) as days
    inner join first_cohort on days.month >= first_cohort.cohort_month
    inner join last_order on days.month <= last_order.last_month

),

bought as (

    select
        first_days.cohort_month,
        cast(date_trunc('month', customer_days.order_date) as date) as month,
        count(distinct customer_days.person_id) as active_customers,
        sum(customer_days.orders) as orders,
        sum(customer_days.revenue_amount) as revenue
    from customer_days
    inner join first_days on customer_days.person_id = first_days.person_id
    group by first_days.cohort_month, cast(date_trunc('month', customer_days.order_date) as date)

),

-- The whole square: months that have not come yet are there without figures.
cells as (

    select
        cohorts.cohort_month,
        cohorts.customers,
        offsets.number as months_since_first,
        observed.month
    from cohorts
    inner join months as begins on cohorts.cohort_month = begins.month
    cross join months as offsets
    left join months as observed on begins.number + offsets.number = observed.number

),

filled as (

    select
        cells.cohort_month,
        cells.months_since_first,
        cells.month,
        cells.customers,
        case when cells.month is not null then coalesce(bought.active_customers, 0) end as active_customers,
        case when cells.month is not null then coalesce(bought.orders, 0) end as orders,
        case when cells.month is not null then coalesce(bought.revenue, 0) end as revenue,
        case when cells.month is not null then coalesce(coverage.is_complete, false) end as is_complete
    from cells
    left join bought on cells.cohort_month = bought.cohort_month and cells.month = bought.month
    left join coverage on cells.month = coverage.month

),

added_up as (

    select
        *,
        sum(revenue) over (
            partition by cohort_month order by months_since_first rows unbounded preceding
        ) as revenue_to_date
    from filled

)

select
    cohort_month,
    months_since_first,

    month,
    is_complete,
    customers,

    active_customers,
    active_customers / nullif(customers, 0) as retention_rate,
    cast(orders as bigint) as orders,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(case when month is not null then revenue_to_date end as decimal(18, 4)) as revenue_to_date,
    cast(
        case when month is not null then revenue_to_date / nullif(customers, 0) end as decimal(18, 4)
    ) as revenue_to_date_per_customer
from added_up
