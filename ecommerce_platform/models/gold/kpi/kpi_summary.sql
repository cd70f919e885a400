with shop as (

    select
        source,
        currency
    from silver.shop

),

days as (

    select
        order_date,
        orders,
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
    from gold.kpi_daily

),

-- Over the whole history every customer was new once, so their number needs no second count.
totals as (

    select
        min(order_date) as first_date,
        max(order_date) as last_date,
        coalesce(sum(orders), 0) as orders,
        coalesce(sum(new_customers), 0) as customers,
        coalesce(sum(new_repeat_customers), 0) as repeat_customers,
        coalesce(sum(valid_lines), 0) as valid_lines,
        coalesce(sum(cost_known_lines), 0) as cost_known_lines,
        coalesce(sum(units), 0) as units,
        coalesce(sum(gross_amount), 0) as gross_amount,
        coalesce(sum(discount_amount), 0) as discount_amount,
        coalesce(sum(revenue), 0) as revenue,
        sum(cost_amount) as cost_amount,
        sum(net_profit) as net_profit,
        coalesce(sum(refund_amount), 0) as refund_amount,
        coalesce(sum(reviews), 0) as reviews,
        sum(review_score_total) as review_score_total,
        sum(promoters) as promoters,
        sum(detractors) as detractors,
        sum(rated_orders) as rated_orders,
        sum(satisfaction_total) as satisfaction_total,
        sum(delivered_orders) as delivered_orders,
        sum(delivery_days_total) as delivery_days_total,
        sum(promised_deliveries) as promised_deliveries,
        sum(on_time_deliveries) as on_time_deliveries
    from days

)

select
    shop.source,
    shop.currency,
    totals.first_date,
    totals.last_date,

    cast(totals.orders as bigint) as orders,
    cast(totals.customers as bigint) as customers,
    cast(totals.customers as bigint) as new_customers,
    cast(totals.units as bigint) as units,

    cast(totals.gross_amount as decimal(18, 4)) as gross_amount,
    cast(totals.discount_amount as decimal(18, 4)) as discount_amount,
    cast(totals.revenue as decimal(18, 4)) as revenue,
    cast(totals.cost_amount as decimal(18, 4)) as cost_amount,
    cast(totals.net_profit as decimal(18, 4)) as net_profit,
    cast(totals.revenue / nullif(totals.orders, 0) as decimal(18, 4)) as aov,
    cast(null as double) as revenue_growth,
    totals.repeat_customers / nullif(totals.customers, 0) as repeat_purchase_rate,
    cast(null as double) as churn_rate,
    totals.cost_known_lines / nullif(totals.valid_lines, 0) as cost_known_share,
    cast(totals.refund_amount as decimal(18, 4)) as refund_amount,

    cast(totals.reviews as bigint) as reviews,
    totals.review_score_total / nullif(totals.reviews, 0) as avg_review_score,
    cast(100 * (totals.promoters - totals.detractors) as double) / nullif(totals.reviews, 0) as nps_proxy,
    totals.satisfaction_total / nullif(totals.rated_orders, 0) as avg_satisfaction_score,
    totals.on_time_deliveries / nullif(totals.promised_deliveries, 0) as on_time_rate,
    totals.delivery_days_total / nullif(totals.delivered_orders, 0) as avg_delivery_days,

    cast(totals.revenue / nullif(totals.customers, 0) as decimal(18, 4)) as historic_clv,
    cast(totals.net_profit / nullif(totals.customers, 0) as decimal(18, 4)) as historic_clv_profit
from totals
cross join shop
