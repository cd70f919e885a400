with items as (

    select
        order_id,
        line_number,
        seller_id,
        is_valid,
        quantity,
        discount_amount,
        revenue_amount,
        profit_amount
    from gold.fct_order_items
    where seller_id is not null

),

-- An order with lines of several sellers says nothing about either of them alone.
single_sellers as (

    select
        order_id,
        min(seller_id) as seller_id
    from gold.fct_order_items
    group by order_id
    having count(distinct seller_id) = 1 and count(*) = count(seller_id)

),

orders as (

    select
        order_id,
        person_id,
        order_date,
        status,
        is_counted,
        delivery_days,
        is_on_time
    from gold.fct_orders

),

sold as (

    select
        items.seller_id,
        count(distinct case when orders.is_counted and items.is_valid then items.order_id end) as orders,
        count(distinct case when orders.is_counted and items.is_valid then orders.person_id end) as customers,
        sum(case when items.is_valid then items.quantity else 0 end) as units,
        sum(case when items.is_valid then items.discount_amount else 0 end) as discount_amount,
        sum(items.revenue_amount) as revenue,
        sum(case when items.is_valid then items.profit_amount end) as net_profit,
        min(case when items.is_valid then orders.order_date end) as first_sale_date,
        max(case when items.is_valid then orders.order_date end) as last_sale_date
    from items
    left join orders on items.order_id = orders.order_id
    group by items.seller_id

),

handled as (

    select
        single_sellers.seller_id,
        count(*) as orders_alone,
        count(*) filter (where orders.status in ('canceled', 'unavailable')) as canceled_orders,
        count(orders.delivery_days) as deliveries,
        sum(orders.delivery_days) as delivery_days,
        count(orders.is_on_time) as promised_deliveries,
        count(*) filter (where orders.is_on_time) as on_time_deliveries
    from single_sellers
    inner join orders on single_sellers.order_id = orders.order_id
    group by single_sellers.seller_id

),

reviewed as (

    select
        single_sellers.seller_id,
        count(*) as reviews,
        sum(reviews.score) as score_total,
        sum(reviews.score * reviews.score) as squares,
        count(*) filter (where reviews.score <= 2) as bad_reviews
    from silver.reviews as reviews
    inner join single_sellers on reviews.order_id = single_sellers.order_id
    group by single_sellers.seller_id

),

returned as (

    select
        items.seller_id,
        sum(returns.quantity) as returned_units,
        sum(returns.refund_amount) as refund_amount
    from gold.fct_returns as returns
    inner join items on returns.order_id = items.order_id and returns.line_number = items.line_number
    where items.is_valid
    group by items.seller_id

)

select
    sold.seller_id,

    sold.orders,
    sold.customers,
    cast(sold.units as bigint) as units,
    cast(sold.discount_amount as decimal(18, 4)) as discount_amount,
    cast(sold.revenue as decimal(18, 4)) as revenue,
    cast(sold.net_profit as decimal(18, 4)) as net_profit,
    cast(sold.revenue as double) / nullif(sum(sold.revenue) over (), 0) as revenue_share,
    rank() over (order by sold.revenue desc) as rank_by_revenue,
    sold.first_sale_date,
    sold.last_sale_date,

    coalesce(handled.orders_alone, 0) as orders_alone,
    handled.canceled_orders / nullif(handled.orders_alone, 0) as cancellation_rate,
    coalesce(handled.deliveries, 0) as deliveries,
    handled.delivery_days / nullif(handled.deliveries, 0) as avg_delivery_days,
    handled.on_time_deliveries / nullif(handled.promised_deliveries, 0) as on_time_rate,

    coalesce(reviewed.reviews, 0) as reviews,
    reviewed.score_total / nullif(reviewed.reviews, 0) as avg_review_score,
    case
        when reviewed.reviews > 1
            then
                reviewed.score_total / nullif(reviewed.reviews, 0)
                - 1.96 * sqrt(
                    greatest(
                        (
                            reviewed.squares - reviewed.score_total * reviewed.score_total
                            / nullif(cast(reviewed.reviews as double), 0)
                        ) / nullif(reviewed.reviews - 1, 0) / nullif(reviewed.reviews, 0),
                        0
                    )
                )
    end as avg_review_score_low,
    reviewed.bad_reviews / nullif(reviewed.reviews, 0) as bad_review_share,

    cast(coalesce(returned.returned_units, 0) as bigint) as returned_units,
    cast(coalesce(returned.refund_amount, 0) as decimal(18, 4)) as refund_amount
from sold
left join handled on sold.seller_id = handled.seller_id
left join reviewed on sold.seller_id = reviewed.seller_id
left join returned on sold.seller_id = returned.seller_id
