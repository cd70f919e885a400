with months as (

    select
        cast(extract(year from month) as integer) as year,
        month,
        orders,
        customers,
        units,
        revenue,
        net_profit,
        aov,
        is_complete
    from gold.kpi_monthly

),

years as (

    select
        year,
        sum(revenue) as year_revenue,
        count(*) filter (where revenue > 0) as months_with_revenue,
        count(*) filter (where is_complete) = 12 as is_complete
    from months
    group by year

),

-- Of equal months the earlier one, which reached the mark first.
best as (

    select
        year,
        month,
        orders,
        customers,
        units,
        revenue,
        net_profit,
        aov
    from months
    where revenue > 0
    qualify row_number() over (partition by year order by revenue desc, month asc) = 1

)

select
    best.year,
    best.month,

    best.orders,
    best.customers,
    best.units,
    best.revenue,
    best.net_profit,
    best.aov,

    cast(years.year_revenue as decimal(18, 4)) as year_revenue,
    cast(best.revenue as double) / nullif(years.year_revenue, 0) as revenue_share,
    years.months_with_revenue,
    years.is_complete
from best
inner join years on best.year = years.year
