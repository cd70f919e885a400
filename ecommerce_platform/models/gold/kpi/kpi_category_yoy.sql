with sales as (

    select
        month,
        value as category,
        orders,
        units,
        revenue
    from gold.kpi_by_dimension
    where dimension = 'category'

),

months as (

    select
        month,
        is_complete
    from gold.kpi_monthly

),

last_sale as (

    select max(month) as month
    from sales

),

a_year_later as (

    select
        cast(month + interval 12 month as date) as month,
        category,
        orders,
        units,
        revenue
    from sales

),

-- A category that sold a year ago and not at all now is the news, so its row must be there too; but no rows for
-- months that have yet to come.
pairs as (

    select
        month,
        category
    from sales
    union
    select
        a_year_later.month,
        a_year_later.category
    from a_year_later
    inner join last_sale on a_year_later.month <= last_sale.month

),

compared as (

    select
        pairs.month,
        pairs.category,
        coalesce(sales.orders, 0) as orders,
        coalesce(sales.units, 0) as units,
        coalesce(sales.revenue, 0) as revenue,
        a_year_later.orders as orders_year_before,
        a_year_later.units as units_year_before,
        a_year_later.revenue as revenue_year_before
    from pairs
    left join sales on pairs.month = sales.month and pairs.category = sales.category
    left join a_year_later on pairs.month = a_year_later.month and pairs.category = a_year_later.category

)

select
    compared.month,
    compared.category,

    compared.orders,
    compared.orders_year_before,
    compared.units,
    compared.units_year_before,

    cast(compared.revenue as decimal(18, 4)) as revenue,
    compared.revenue_year_before,
    cast(compared.revenue - compared.revenue_year_before as decimal(18, 4)) as revenue_change_amount,
    case
        when
            compared.revenue_year_before > 0 and year_before.is_complete and coalesce(this_month.is_complete, true)
            then cast(compared.revenue as double) / nullif(compared.revenue_year_before, 0) - 1
    end as revenue_growth,

    coalesce(this_month.is_complete, true) as is_complete
from compared
left join months as this_month on compared.month = this_month.month
left join months as year_before on compared.month = cast(year_before.month + interval 12 month as date)
