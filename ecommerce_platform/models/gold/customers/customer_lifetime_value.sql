with orders as (

    select
        order_id,
        person_id,
        order_date,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue_amount,
        profit_amount
    from gold.fct_orders
    where is_counted and person_id is not null

),

first_days as (

    select
        person_id,
        order_date as first_order_date
    from gold.fct_customer_days
    where day_number = 1

),

newest as (

    select max(order_date) as newest_date
    from gold.fct_orders

),

returns as (

    select
        order_id,
        refund_amount
    from gold.fct_returns

),

refunds as (

    select
        orders.person_id,
        sum(returns.refund_amount) as refund_amount
    from returns
    inner join orders on returns.order_id = orders.order_id
    group by orders.person_id

),

dated as (

    select
        orders.*,
        first_days.first_order_date,
        date_diff('day', first_days.first_order_date, orders.order_date) as age_days
    from orders
    inner join first_days on orders.person_id = first_days.person_id

),

persons as (

    select
        person_id,
        min(first_order_date) as first_order_date,
        max(order_date) as last_order_date,
        count(*) as orders,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(profit_amount) as net_profit,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        coalesce(sum(revenue_amount) filter (where age_days < 30), 0) as revenue_30_days,
        coalesce(sum(revenue_amount) filter (where age_days < 90), 0) as revenue_90_days,
        coalesce(sum(revenue_amount) filter (where age_days < 180), 0) as revenue_180_days,
        coalesce(sum(revenue_amount) filter (where age_days < 365), 0) as revenue_365_days
    from dated
    group by person_id

),

aged as (

    select
        persons.*,
        date_diff('day', persons.first_order_date, newest.newest_date) as age_days
    from persons
    cross join newest

),

-- Equal revenue gets an equal rank: how many persons brought more, counted per amount.
amounts as (

    select
        revenue,
        sum(count(*)) over (order by revenue desc rows unbounded preceding) - count(*) as better,
        sum(count(*)) over () as everyone
    from persons
    group by revenue

)

select
    aged.person_id,

    aged.first_order_date,
    aged.last_order_date,
    aged.age_days,
    aged.orders,
    cast(aged.units as bigint) as units,

    cast(aged.gross_amount as decimal(18, 4)) as gross_amount,
    cast(aged.discount_amount as decimal(18, 4)) as discount_amount,
    cast(aged.revenue as decimal(18, 4)) as revenue,
    cast(aged.net_profit as decimal(18, 4)) as net_profit,
    aged.cost_known_lines / nullif(aged.valid_lines, 0) as cost_known_share,
    cast(coalesce(refunds.refund_amount, 0) as decimal(18, 4)) as refund_amount,
    cast(aged.revenue / nullif(aged.orders, 0) as decimal(18, 4)) as aov,

    -- Of a person known for less than the window the figure would say how young the person is.
    cast(case when aged.age_days >= 29 then aged.revenue_30_days end as decimal(18, 4)) as revenue_30_days,
    cast(case when aged.age_days >= 89 then aged.revenue_90_days end as decimal(18, 4)) as revenue_90_days,
    cast(case when aged.age_days >= 179 then aged.revenue_180_days end as decimal(18, 4)) as revenue_180_days,
    cast(case when aged.age_days >= 364 then aged.revenue_365_days end as decimal(18, 4)) as revenue_365_days,

    cast(amounts.better + 1 as bigint) as rank_by_revenue,
    amounts.better / nullif(amounts.everyone, 0) as share_of_customers_above
from aged
inner join amounts on aged.revenue = amounts.revenue
left join refunds on aged.person_id = refunds.person_id
