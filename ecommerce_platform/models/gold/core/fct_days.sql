with orders as (

    select
        order_id,
        order_date,
        is_counted,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue_amount,
        cost_amount,
        profit_amount,
        satisfaction_score,
        delivery_days,
        is_on_time
    from gold.fct_orders

),

customer_days as (

    select
        order_date,
        orders,
        orders_to_date
    from gold.fct_customer_days

),

reviews as (

    select
        order_id,
        score
    from silver.reviews

),

order_dates as (

    select
        order_id,
        order_date
    from gold.fct_orders

),

returns as (

    select
        return_date,
        refund_amount
    from gold.fct_returns

),

sales as (

    select
        order_date,
        count(*) filter (where is_counted) as orders,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(cost_amount) as cost_amount,
        sum(profit_amount) as net_profit,
        count(satisfaction_score) as rated_orders,
        sum(satisfaction_score) as satisfaction_total,
        count(delivery_days) as delivered_orders,
        sum(delivery_days) as delivery_days_total,
        count(is_on_time) as promised_deliveries,
        count(*) filter (where is_on_time) as on_time_deliveries
    from orders
    group by order_date

),

buyers as (

    select
        order_date,
        count(*) as customers,
        count(*) filter (where orders_to_date = orders) as new_customers,
        -- The day on which a person's second order came, however many came on it.
        count(*) filter (where orders_to_date >= 2 and orders_to_date - orders < 2) as new_repeat_customers
    from customer_days
    group by order_date

),

-- All reviews, of valid orders or not. One whose order is missing has no day yet.
opinions as (

    select
        order_dates.order_date,
        count(*) as reviews,
        sum(reviews.score) as review_score_total,
        count(*) filter (where reviews.score = 5) as promoters,
        count(*) filter (where reviews.score <= 3) as detractors
    from reviews
    inner join order_dates on reviews.order_id = order_dates.order_id
    group by order_dates.order_date

),

-- Money goes back on the day of the return, which is not the order's.
refunds as (

    select
        return_date as order_date,
        sum(refund_amount) as refund_amount
    from returns
    group by return_date

),

-- A day is there when it has anything to show, be it a review of a canceled order.
days as (

    select order_date from sales
    where valid_lines > 0 or rated_orders > 0 or delivered_orders > 0
    union
    select order_date from opinions
    union
    select order_date from refunds
    where order_date is not null

)

select
    days.order_date,
    coalesce(sales.orders, 0) as orders,
    coalesce(buyers.customers, 0) as customers,
    coalesce(buyers.new_customers, 0) as new_customers,
    coalesce(buyers.new_repeat_customers, 0) as new_repeat_customers,
    cast(coalesce(sales.valid_lines, 0) as bigint) as valid_lines,
    cast(coalesce(sales.cost_known_lines, 0) as bigint) as cost_known_lines,
    cast(coalesce(sales.units, 0) as bigint) as units,
    cast(coalesce(sales.gross_amount, 0) as decimal(18, 4)) as gross_amount,
    cast(coalesce(sales.discount_amount, 0) as decimal(18, 4)) as discount_amount,
    cast(coalesce(sales.revenue, 0) as decimal(18, 4)) as revenue,
    cast(sales.cost_amount as decimal(18, 4)) as cost_amount,
    cast(sales.net_profit as decimal(18, 4)) as net_profit,
    cast(coalesce(refunds.refund_amount, 0) as decimal(18, 4)) as refund_amount,
    coalesce(opinions.reviews, 0) as reviews,
    cast(coalesce(opinions.review_score_total, 0) as bigint) as review_score_total,
    coalesce(opinions.promoters, 0) as promoters,
    coalesce(opinions.detractors, 0) as detractors,
    coalesce(sales.rated_orders, 0) as rated_orders,
    coalesce(sales.satisfaction_total, 0) as satisfaction_total,
    coalesce(sales.delivered_orders, 0) as delivered_orders,
    cast(coalesce(sales.delivery_days_total, 0) as bigint) as delivery_days_total,
    coalesce(sales.promised_deliveries, 0) as promised_deliveries,
    coalesce(sales.on_time_deliveries, 0) as on_time_deliveries
from days
left join sales on days.order_date = sales.order_date
left join buyers on days.order_date = buyers.order_date
left join opinions on days.order_date = opinions.order_date
left join refunds on days.order_date = refunds.order_date
