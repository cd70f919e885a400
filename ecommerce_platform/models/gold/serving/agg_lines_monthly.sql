with lines as (

    select
        order_number,
        category,
        brand,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue,
        cost_amount,
        net_profit
    from gold.narrow_lines

),

orders as (

    select
        order_number,
        cast(date_trunc('month', order_date) as date) as month,
        channel,
        payment_method,
        region,
        segment,
        orders,
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
    from gold.narrow_orders

),

-- Each order once with each category, and with each brand, that it holds.
held as (

    select
        order_number,
        case when grouping(category) = 0 then 'category' else 'brand' end as dimension,
        coalesce(category, brand) as value,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue) as revenue,
        sum(cost_amount) as cost_amount,
        sum(net_profit) as net_profit
    from lines
    group by grouping sets ((order_number, category), (order_number, brand))

)

select
    orders.month,
    held.dimension,
    held.value,
    orders.channel,
    orders.payment_method,
    orders.region,
    orders.segment,

    cast(sum(orders.orders) as bigint) as orders,
    cast(sum(held.valid_lines) as bigint) as valid_lines,
    cast(sum(held.cost_known_lines) as bigint) as cost_known_lines,
    cast(sum(held.units) as bigint) as units,
    cast(sum(held.gross_amount) as decimal(18, 4)) as gross_amount,
    cast(sum(held.discount_amount) as decimal(18, 4)) as discount_amount,
    cast(sum(held.revenue) as decimal(18, 4)) as revenue,
    cast(sum(held.cost_amount) as decimal(18, 4)) as cost_amount,
    cast(sum(held.net_profit) as decimal(18, 4)) as net_profit,
    cast(sum(orders.reviews) as bigint) as reviews,
    cast(sum(orders.review_score_total) as bigint) as review_score_total,
    cast(sum(orders.promoters) as bigint) as promoters,
    cast(sum(orders.detractors) as bigint) as detractors,
    cast(sum(orders.rated_orders) as bigint) as rated_orders,
    cast(sum(orders.satisfaction_total) as decimal(18, 6)) as satisfaction_total,
    cast(sum(orders.delivered_orders) as bigint) as delivered_orders,
    cast(sum(orders.delivery_days_total) as bigint) as delivery_days_total,
    cast(sum(orders.promised_deliveries) as bigint) as promised_deliveries,
    cast(sum(orders.on_time_deliveries) as bigint) as on_time_deliveries
from held
inner join orders on held.order_number = orders.order_number
group by
    orders.month, held.dimension, held.value, orders.channel, orders.payment_method, orders.region, orders.segment
