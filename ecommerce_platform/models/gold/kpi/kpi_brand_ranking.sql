with months as (

    select
        month,
        value as brand,
        orders,
        units,
        gross_amount,
        discount_amount,
        revenue,
        cost_amount,
        net_profit
    from gold.kpi_by_dimension
    where dimension = 'brand'

),

-- An order has one month, so its months add up without counting again.
brands as (

    select
        brand,
        brand <> 'unknown' as is_known,
        min(month) as first_month,
        max(month) as last_month,
        sum(orders) as orders,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue) as revenue,
        sum(cost_amount) as cost_amount,
        sum(net_profit) as net_profit
    from months
    group by brand

)

select
    brand,

    -- What is not known has no rank and takes none away.
    case when is_known then rank() over (partition by is_known order by revenue desc) end as rank_by_revenue,
    case when is_known then rank() over (partition by is_known order by orders desc) end as rank_by_orders,
    case when is_known then rank() over (partition by is_known order by units desc) end as rank_by_units,

    cast(orders as bigint) as orders,
    cast(units as bigint) as units,
    cast(gross_amount as decimal(18, 4)) as gross_amount,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(cost_amount as decimal(18, 4)) as cost_amount,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cast(revenue as double) / nullif(sum(revenue) over (), 0) as revenue_share,

    first_month,
    last_month
from brands
