with orders as (

    select
        cast(date_trunc('month', order_date) as date) as month,
        *
    from gold.narrow_orders

)

select
    month,
    channel,
    device,
    payment_method,
    region,
    customer_region,
    segment,
    age_group,

    cast(sum(orders) as bigint) as orders,
    cast(sum(person_days) as bigint) as person_days,
    cast(sum(new_customers) as bigint) as new_customers,
    cast(sum(new_repeat_customers) as bigint) as new_repeat_customers,
    cast(sum(valid_lines) as bigint) as valid_lines,
    cast(sum(cost_known_lines) as bigint) as cost_known_lines,
    cast(sum(units) as bigint) as units,
    cast(sum(gross_amount) as decimal(18, 4)) as gross_amount,
    cast(sum(discount_amount) as decimal(18, 4)) as discount_amount,
    cast(sum(revenue) as decimal(18, 4)) as revenue,
    cast(sum(cost_amount) as decimal(18, 4)) as cost_amount,
    cast(sum(net_profit) as decimal(18, 4)) as net_profit,
    cast(sum(reviews) as bigint) as reviews,
    cast(sum(review_score_total) as bigint) as review_score_total,
    cast(sum(promoters) as bigint) as promoters,
    cast(sum(detractors) as bigint) as detractors,
    cast(sum(rated_orders) as bigint) as rated_orders,
    cast(sum(satisfaction_total) as decimal(18, 6)) as satisfaction_total,
    cast(sum(delivered_orders) as bigint) as delivered_orders,
    cast(sum(delivery_days_total) as bigint) as delivery_days_total,
    cast(sum(promised_deliveries) as bigint) as promised_deliveries,
    cast(sum(on_time_deliveries) as bigint) as on_time_deliveries
from orders
group by month, channel, device, payment_method, region, customer_region, segment, age_group
