with orders as (

    select
        order_id,
        person_id,
        order_date,
        strftime(order_date, '%A') as weekday,
        lpad(cast(extract(hour from ordered_at) as varchar), 2, '0') as hour,
        ordered_at,
        is_counted,
        channel,
        payment_method,
        region,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue_amount,
        cost_amount,
        profit_amount
    from gold.fct_orders

),

items as (

    select
        order_id,
        person_id,
        product_id,
        seller_id,
        order_date,
        quantity,
        gross_amount,
        discount_amount,
        revenue_amount,
        cost_amount,
        profit_amount
    from gold.fct_order_items
    where is_valid

),

uncounted_orders as (

    select order_id
    from gold.fct_orders
    where valid_lines > 0 and not is_counted

),

customers as (

    select
        person_id,
        customer_segment,
        age_group,
        region
    from gold.dim_customer

),

products as (

    select
        product_id,
        category,
        brand
    from gold.dim_product

),

-- Where all orders are placed at midnight, days are known and no hours.
clock as (

    select max(case when ordered_at > cast(order_date as timestamp) then 1 else 0 end) as has_times
    from orders

),

-- Whatever is not known goes to the value 'unknown', so that each dimension adds up to the whole.
sold_orders as (

    select
        cast(date_trunc('month', orders.order_date) as date) as month,
        coalesce(orders.channel, 'unknown') as channel,
        coalesce(orders.payment_method, 'unknown') as payment_method,
        coalesce(orders.region, 'unknown') as region,
        coalesce(customers.region, 'unknown') as customer_region,
        coalesce(customers.customer_segment, 'unknown') as segment,
        coalesce(customers.age_group, 'unknown') as age_group,
        orders.weekday,
        case when clock.has_times = 1 then orders.hour else 'unknown' end as hour,
        case when orders.is_counted then orders.person_id end as person_id,
        case when orders.is_counted then 1 else 0 end as counted,
        orders.valid_lines,
        orders.cost_known_lines,
        orders.units,
        orders.gross_amount,
        orders.discount_amount,
        orders.revenue_amount,
        orders.cost_amount,
        orders.profit_amount
    from orders
    left join customers on orders.person_id = customers.person_id
    cross join clock
    where orders.valid_lines > 0

),

by_order as (

    select
        month,
        case
            when grouping(channel) = 0 then 'channel'
            when grouping(payment_method) = 0 then 'payment_method'
            when grouping(region) = 0 then 'region'
            when grouping(customer_region) = 0 then 'customer_region'
            when grouping(segment) = 0 then 'segment'
            when grouping(age_group) = 0 then 'age_group'
            when grouping(weekday) = 0 then 'weekday'
            else 'hour'
        end as dimension,
        coalesce(channel, payment_method, region, customer_region, segment, age_group, weekday, hour) as value,
        sum(counted) as orders,
        count(distinct person_id) as customers,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(cost_amount) as cost_amount,
        sum(profit_amount) as net_profit
    from sold_orders
    group by grouping sets (
        (month, channel), (month, payment_method), (month, region), (month, customer_region), (month, segment),
        (month, age_group), (month, weekday), (month, hour)
    )

),

-- A source may call a line valid inside an order that is not: its money counts, its order and customer do not.
sold_items as (

    select
        cast(date_trunc('month', items.order_date) as date) as month,
        coalesce(products.category, 'unknown') as category,
        coalesce(products.brand, 'unknown') as brand,
        coalesce(items.seller_id, 'unknown') as seller,
        case when uncounted_orders.order_id is null then items.order_id end as order_id,
        case when uncounted_orders.order_id is null then items.person_id end as person_id,
        items.quantity,
        items.gross_amount,
        items.discount_amount,
        items.revenue_amount,
        items.cost_amount,
        items.profit_amount
    from items
    left join products on items.product_id = products.product_id
    left join uncounted_orders on items.order_id = uncounted_orders.order_id

),

by_item as (

    select
        month,
        case
            when grouping(category) = 0 then 'category'
            when grouping(brand) = 0 then 'brand'
            else 'seller'
        end as dimension,
        coalesce(category, brand, seller) as value,
        count(distinct order_id) as orders,
        count(distinct person_id) as customers,
        count(*) as valid_lines,
        count(cost_amount) as cost_known_lines,
        sum(quantity) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(cost_amount) as cost_amount,
        sum(profit_amount) as net_profit
    from sold_items
    group by grouping sets ((month, category), (month, brand), (month, seller))

),

parts as (

    select * from by_order
    union all
    select * from by_item

)

select
    month,
    dimension,
    value,

    cast(orders as bigint) as orders,
    customers,
    cast(units as bigint) as units,

    cast(gross_amount as decimal(18, 4)) as gross_amount,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(cost_amount as decimal(18, 4)) as cost_amount,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cast(revenue / nullif(orders, 0) as decimal(18, 4)) as aov,
    cast(revenue as double) / nullif(sum(revenue) over (partition by month, dimension), 0) as revenue_share,
    cost_known_lines / nullif(valid_lines, 0) as cost_known_share
from parts
