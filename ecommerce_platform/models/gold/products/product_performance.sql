with items as (

    select
        items.order_id,
        items.line_number,
        items.product_id,
        items.person_id,
        items.order_date,
        items.quantity,
        items.gross_amount,
        items.discount_amount,
        items.revenue_amount,
        items.cost_amount,
        items.profit_amount,
        orders.is_counted
    from gold.fct_order_items as items
    inner join gold.fct_orders as orders on items.order_id = orders.order_id
    where items.is_valid

),

products as (

    select
        product_id,
        name,
        category,
        brand
    from gold.dim_product

),

newest as (

    select max(order_date) as newest_date
    from gold.fct_orders

),

returns as (

    select
        order_id,
        line_number,
        quantity,
        refund_amount
    from gold.fct_returns
    where line_number is not null

),

returned as (

    select
        items.product_id,
        sum(returns.quantity) as returned_units,
        sum(returns.refund_amount) as refund_amount
    from returns
    inner join items on returns.order_id = items.order_id and returns.line_number = items.line_number
    group by items.product_id

),

-- A review that names no product is of a whole order, and says something about a product only when there is no other.
single_products as (

    select
        order_id,
        min(product_id) as product_id
    from items
    group by order_id
    having count(distinct product_id) = 1

),

test_orders as (

    select order_id
    from silver.orders
    where is_test

),

reviewed as (

    select
        coalesce(reviews.product_id, single_products.product_id) as product_id,
        count(*) as reviews,
        sum(reviews.score) as score_total
    from silver.reviews as reviews
    left join single_products on reviews.order_id = single_products.order_id
    left join test_orders on reviews.order_id = test_orders.order_id
    where test_orders.order_id is null and coalesce(reviews.product_id, single_products.product_id) is not null
    group by coalesce(reviews.product_id, single_products.product_id)

),

dated as (

    select
        items.*,
        date_diff('day', items.order_date, newest.newest_date) as days_ago
    from items
    cross join newest

),

sold as (

    select
        product_id,
        count(distinct case when is_counted then order_id end) as orders,
        count(distinct case when is_counted then person_id end) as customers,
        count(*) as valid_lines,
        count(cost_amount) as cost_known_lines,
        sum(quantity) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(revenue_amount) filter (where cost_amount is not null) as revenue_of_known_cost,
        sum(cost_amount) as cost_amount,
        sum(profit_amount) as net_profit,
        min(order_date) as first_sale_date,
        max(order_date) as last_sale_date,
        coalesce(sum(quantity) filter (where days_ago < 90), 0) as units_90_days,
        coalesce(sum(revenue_amount) filter (where days_ago < 90), 0) as revenue_90_days,
        coalesce(sum(revenue_amount) filter (where days_ago between 90 and 179), 0) as revenue_90_days_before
    from dated
    group by product_id

),

-- Products of equal revenue stand in one place: what better ones bring together is counted per amount.
amounts as (

    select
        revenue,
        sum(sum(revenue)) over (order by revenue desc rows unbounded preceding) - sum(revenue) as revenue_above,
        sum(count(*)) over (order by revenue desc rows unbounded preceding) - count(*) as products_above,
        sum(sum(revenue)) over () as whole
    from sold
    group by revenue

)

select
    sold.product_id,

    products.name,
    products.category,
    products.brand,

    sold.orders,
    sold.customers,
    cast(sold.units as bigint) as units,
    cast(sold.gross_amount as decimal(18, 4)) as gross_amount,
    cast(sold.discount_amount as decimal(18, 4)) as discount_amount,
    cast(sold.revenue as decimal(18, 4)) as revenue,
    cast(sold.cost_amount as decimal(18, 4)) as cost_amount,
    cast(sold.net_profit as decimal(18, 4)) as net_profit,
    sold.cost_known_lines / nullif(sold.valid_lines, 0) as cost_known_share,
    cast(sold.net_profit as double) / nullif(sold.revenue_of_known_cost, 0) as margin_share,
    cast(sold.revenue / nullif(sold.units, 0) as decimal(18, 4)) as price_paid,
    cast(sold.discount_amount as double) / nullif(sold.gross_amount, 0) as discount_share,

    cast(sold.revenue as double) / nullif(amounts.whole, 0) as revenue_share,
    cast(amounts.products_above + 1 as bigint) as rank_by_revenue,
    case
        when amounts.revenue_above < 0.8 * amounts.whole then 'A'
        when amounts.revenue_above < 0.95 * amounts.whole then 'B'
        else 'C'
    end as revenue_class,

    sold.first_sale_date,
    sold.last_sale_date,
    cast(sold.units_90_days as bigint) as units_90_days,
    cast(sold.revenue_90_days as decimal(18, 4)) as revenue_90_days,
    cast(sold.revenue_90_days_before as decimal(18, 4)) as revenue_90_days_before,

    cast(coalesce(returned.returned_units, 0) as bigint) as returned_units,
    coalesce(returned.returned_units, 0) / nullif(sold.units, 0) as return_rate,
    cast(coalesce(returned.refund_amount, 0) as decimal(18, 4)) as refund_amount,
    coalesce(reviewed.reviews, 0) as reviews,
    reviewed.score_total / nullif(reviewed.reviews, 0) as avg_review_score
from sold
inner join amounts on sold.revenue = amounts.revenue
left join products on sold.product_id = products.product_id
left join returned on sold.product_id = returned.product_id
left join reviewed on sold.product_id = reviewed.product_id
