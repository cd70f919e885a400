with months as (

    select
        cast(extract(year from month) as integer) as year,
        value as payment_method,
        orders,
        revenue
    from gold.kpi_by_dimension
    where dimension = 'payment_method'

),

-- An order has one month and one method, so its months add up without counting again.
years as (

    select
        year,
        payment_method,
        payment_method <> 'unknown' as is_known,
        sum(orders) as orders,
        sum(revenue) as revenue
    from months
    group by year, payment_method

)

select
    year,
    payment_method,

    cast(orders as bigint) as orders,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(revenue / nullif(orders, 0) as decimal(18, 4)) as aov,
    cast(orders as double) / nullif(sum(orders) over (partition by year), 0) as orders_share,
    cast(revenue as double) / nullif(sum(revenue) over (partition by year), 0) as revenue_share,

    -- What is not known has no rank and takes none away.
    case when is_known then rank() over (partition by year, is_known order by orders desc) end as rank_by_orders,
    case when is_known then rank() over (partition by year, is_known order by revenue desc) end as rank_by_revenue
from years
