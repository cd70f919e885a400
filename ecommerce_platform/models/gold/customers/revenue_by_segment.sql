with orders as (

    select
        person_id,
        is_counted,
        valid_lines,
        cost_known_lines,
        units,
        discount_amount,
        revenue_amount,
        profit_amount
    from gold.fct_orders
    where valid_lines > 0

),

rfm as (

    select
        person_id,
        segment,
        recency_days,
        frequency
    from gold.rfm

),

customers as (

    select
        person_id,
        customer_segment,
        age_group,
        region
    from gold.dim_customer

),

sold as (

    select
        coalesce(rfm.segment, 'unknown') as rfm_segment,
        coalesce(customers.customer_segment, 'unknown') as segment,
        coalesce(customers.age_group, 'unknown') as age_group,
        coalesce(customers.region, 'unknown') as customer_region,
        case when orders.is_counted then orders.person_id end as person_id,
        case when orders.is_counted then 1 else 0 end as counted,
        orders.valid_lines,
        orders.cost_known_lines,
        orders.units,
        orders.discount_amount,
        orders.revenue_amount,
        orders.profit_amount
    from orders
    left join rfm on orders.person_id = rfm.person_id
    left join customers on orders.person_id = customers.person_id

),

parts as (

    select
        coalesce(rfm_segment, segment, age_group, customer_region) <> 'unknown' as is_known,
        case
            when grouping(rfm_segment) = 0 then 'rfm_segment'
            when grouping(segment) = 0 then 'segment'
            when grouping(age_group) = 0 then 'age_group'
            else 'customer_region'
        end as dimension,
        coalesce(rfm_segment, segment, age_group, customer_region) as value,
        count(distinct person_id) as customers,
        sum(counted) as orders,
        sum(units) as units,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(profit_amount) as net_profit,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines
    from sold
    group by grouping sets ((rfm_segment), (segment), (age_group), (customer_region))

)

select
    dimension,
    value,

    customers,
    cast(orders as bigint) as orders,
    cast(units as bigint) as units,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cost_known_lines / nullif(valid_lines, 0) as cost_known_share,

    customers / nullif(sum(customers) over (partition by dimension), 0) as customer_share,
    cast(revenue as double) / nullif(sum(revenue) over (partition by dimension), 0) as revenue_share,
    cast(revenue / nullif(orders, 0) as decimal(18, 4)) as aov,
    cast(case when is_known then revenue / nullif(customers, 0) end as decimal(18, 4)) as revenue_per_customer,
    case when is_known then orders / nullif(customers, 0) end as orders_per_customer,
    case when is_known then rank() over (partition by dimension, is_known order by revenue desc) end as rank_by_revenue
from parts
