with months as (

    select
        cast(extract(year from month) as integer) as year,
        value as category,
        orders,
        units,
        revenue,
        net_profit
    from gold.kpi_by_dimension
    where dimension = 'category'

),

-- An order has one month, so its months add up without counting again.
years as (

    select
        year,
        category,
        category <> 'unknown' as is_known,
        sum(orders) as orders,
        sum(units) as units,
        sum(revenue) as revenue,
        sum(net_profit) as net_profit
    from months
    group by year, category

)

select
    year,
    category,

    cast(orders as bigint) as orders,
    cast(units as bigint) as units,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cast(revenue as double) / nullif(sum(revenue) over (partition by year), 0) as revenue_share,

    -- What is not known has no rank and takes none away.
    case when is_known then rank() over (partition by year, is_known order by revenue desc) end as rank_by_revenue,
    case when is_known then rank() over (partition by year, is_known order by orders desc) end as rank_by_orders,
    case when is_known then rank() over (partition by year, is_known order by units desc) end as rank_by_units
from years
