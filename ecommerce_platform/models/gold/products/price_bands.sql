with items as (

    select
        items.order_id,
        items.product_id,
        items.quantity,
        items.unit_price,
        items.discount_amount,
        items.revenue_amount,
        items.cost_amount,
        items.profit_amount,
        coalesce(products.category, 'unknown') as category,
        orders.is_counted
    from gold.fct_order_items as items
    inner join gold.fct_orders as orders on items.order_id = orders.order_id
    left join gold.dim_product as products on items.product_id = products.product_id
    where items.is_valid

),

-- How many lines of the category are cheaper than each price: equal prices cannot come apart.
prices as (

    select
        category,
        unit_price,
        sum(count(*)) over (partition by category order by unit_price rows unbounded preceding) - count(*) as cheaper,
        sum(count(*)) over (partition by category) as valid_lines
    from items
    group by category, unit_price

),

bands as (

    select
        category,
        unit_price,
        cast(floor(5 * cheaper / nullif(valid_lines, 0)) + 1 as integer) as band
    from prices

),

sold as (

    select
        items.category,
        bands.band,
        min(items.unit_price) as lowest_price,
        max(items.unit_price) as highest_price,
        count(distinct items.product_id) as products,
        count(distinct case when items.is_counted then items.order_id end) as orders,
        count(*) as valid_lines,
        count(items.cost_amount) as cost_known_lines,
        sum(items.quantity) as units,
        sum(items.discount_amount) as discount_amount,
        sum(items.revenue_amount) as revenue,
        sum(items.revenue_amount) filter (where items.cost_amount is not null) as revenue_of_known_cost,
        sum(items.profit_amount) as net_profit
    from items
    inner join bands on items.category = bands.category and items.unit_price = bands.unit_price
    group by items.category, bands.band

)

select
    category,
    band,

    lowest_price,
    highest_price,
    products,
    orders,
    cast(units as bigint) as units,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cost_known_lines / nullif(valid_lines, 0) as cost_known_share,
    cast(net_profit as double) / nullif(revenue_of_known_cost, 0) as margin_share,
    units / nullif(cast(sum(units) over (partition by category) as double), 0) as unit_share,
    cast(revenue as double) / nullif(sum(revenue) over (partition by category), 0) as revenue_share
from sold
