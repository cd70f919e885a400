with days as (

    select
        order_date,
        orders,
        customers,
        new_customers,
        new_repeat_customers,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue,
        cost_amount,
        net_profit,
        refund_amount,
        reviews,
        review_score_total,
        promoters,
        detractors,
        rated_orders,
        satisfaction_total,
        delivered_orders,
        delivery_days_total,
        promised_deliveries,
        on_time_deliveries
    from gold.fct_days

),

compared as (

    select
        *,
        case
            when date_diff('day', lag(order_date) over (order by order_date), order_date) = 1
                then lag(revenue) over (order by order_date)
        end as previous_revenue,
        sum(new_customers) over (order by order_date rows unbounded preceding) as customers_to_date,
        sum(new_repeat_customers) over (order by order_date rows unbounded preceding) as repeat_customers_to_date
    from days

)

select
    order_date,

    orders,
    customers,
    new_customers,
    units,

    gross_amount,
    discount_amount,
    revenue,
    cost_amount,
    net_profit,
    cast(revenue / nullif(orders, 0) as decimal(18, 4)) as aov,
    -- Growth on a day without revenue, or with less than none, says nothing.
    case when previous_revenue > 0 then cast(revenue as double) / nullif(previous_revenue, 0) - 1 end as revenue_growth,
    repeat_customers_to_date / nullif(customers_to_date, 0) as repeat_purchase_rate,
    cast(null as double) as churn_rate,
    cost_known_lines / nullif(valid_lines, 0) as cost_known_share,
    refund_amount,

    reviews,
    review_score_total / nullif(reviews, 0) as avg_review_score,
    cast(100 * (promoters - detractors) as double) / nullif(reviews, 0) as nps_proxy,
    satisfaction_total / nullif(rated_orders, 0) as avg_satisfaction_score,
    on_time_deliveries / nullif(promised_deliveries, 0) as on_time_rate,
    delivery_days_total / nullif(delivered_orders, 0) as avg_delivery_days,

    valid_lines,
    cost_known_lines,
    new_repeat_customers,
    review_score_total,
    promoters,
    detractors,
    rated_orders,
    satisfaction_total,
    delivered_orders,
    delivery_days_total,
    promised_deliveries,
    on_time_deliveries
from compared
