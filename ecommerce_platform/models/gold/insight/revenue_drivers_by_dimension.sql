with pairs as (

    select distinct
        comparison,
        first_date,
        before_first_date,
        is_complete
    from gold.revenue_drivers

),

parts as (

    select
        month,
        dimension,
        value,
        orders,
        revenue
    from gold.kpi_by_dimension

),

months as (

    select
        cast(date_trunc('month', order_date) as date) as month,
        count(distinct case when is_counted then order_id end) as orders
    from gold.fct_orders
    where valid_lines > 0
    group by cast(date_trunc('month', order_date) as date)

),

-- What sold in either of the two months.
named as (

    select
        pairs.comparison,
        pairs.first_date,
        pairs.before_first_date,
        pairs.is_complete,
        parts.dimension,
        parts.value
    from pairs
    inner join parts on pairs.first_date = parts.month
    union
    select
        pairs.comparison,
        pairs.first_date,
        pairs.before_first_date,
        pairs.is_complete,
        parts.dimension,
        parts.value
    from pairs
    inner join parts on pairs.before_first_date = parts.month

),

compared as (

    select
        named.*,
        coalesce(before.orders, 0) as orders_before,
        coalesce(now.orders, 0) as orders_now,
        coalesce(before.revenue, 0) as revenue_before,
        coalesce(now.revenue, 0) as revenue_now,
        months_before.orders as all_orders_before,
        months_now.orders as all_orders_now
    from named
    left join parts as before
        on
            named.before_first_date = before.month
            and named.dimension = before.dimension
            and named.value = before.value
    left join parts as now
        on named.first_date = now.month and named.dimension = now.dimension and named.value = now.value
    left join months as months_before on named.before_first_date = months_before.month
    left join months as months_now on named.first_date = months_now.month

),

-- Revenue per order of the whole month is the sum over values of the share of orders that have the value × what these
-- bring each. A value without orders in one of the months is taken at what it brings in the other: all of it is mix.
rated as (

    select
        *,
        orders_before / nullif(cast(all_orders_before as double), 0) as share_before,
        orders_now / nullif(cast(all_orders_now as double), 0) as share_now,
        revenue_before / nullif(cast(all_orders_before as double), 0) as rate_before,
        revenue_now / nullif(cast(all_orders_now as double), 0) as rate_now,
        coalesce(
            revenue_before / nullif(cast(orders_before as double), 0),
            revenue_now / nullif(cast(orders_now as double), 0),
            0
        ) as aov_before,
        coalesce(
            revenue_now / nullif(cast(orders_now as double), 0),
            revenue_before / nullif(cast(orders_before as double), 0),
            0
        ) as aov_now,
        dimension not in ('category', 'brand', 'seller') as is_of_orders
    from compared

),

totals as (

    select
        comparison,
        first_date,
        dimension,
        cast(sum(revenue_now) as double) / nullif(min(all_orders_now), 0) as all_aov_now,
        cast(sum(revenue_before) as double) / nullif(min(all_orders_before), 0) as all_aov_before,
        cast(cast(sum(revenue_now) as double) / nullif(min(all_orders_now), 0) as decimal(18, 4))
        - cast(cast(sum(revenue_before) as double) / nullif(min(all_orders_before), 0) as decimal(18, 4)) as aov_change
    from compared
    group by comparison, first_date, dimension

),

-- Where each order has one value, shares that grow shrink others: a value's mix counts by how far it is from the whole.
split as (

    select
        rated.*,
        totals.aov_change,
        cast(
            (rated.share_now - rated.share_before) * (
                (rated.aov_before + rated.aov_now) / 2
                - case when rated.is_of_orders then (totals.all_aov_before + totals.all_aov_now) / 2 else 0 end
            ) as decimal(18, 4)
        ) as mix_amount,
        cast(
            rated.rate_now - rated.rate_before
            - (rated.share_now - rated.share_before) * (rated.aov_before + rated.aov_now) / 2 as decimal(18, 4)
        ) as rate_amount
    from rated
    inner join totals
        on
            rated.comparison = totals.comparison
            and rated.first_date = totals.first_date
            and rated.dimension = totals.dimension

),

-- What rounding leaves goes to the largest rate.
settled as (

    select
        *,
        sum(mix_amount + rate_amount) over (partition by comparison, first_date, dimension) as total,
        row_number() over (
            partition by comparison, first_date, dimension
            order by abs(rate_amount) desc, revenue_now desc, value asc
        ) as place
    from split

)

select
    comparison,
    first_date,
    dimension,
    value,

    before_first_date,
    is_complete,

    cast(revenue_before as decimal(18, 4)) as revenue_before,
    cast(revenue_now as decimal(18, 4)) as revenue,
    cast(revenue_now - revenue_before as decimal(18, 4)) as change_amount,

    cast(orders_before as bigint) as orders_before,
    cast(orders_now as bigint) as orders,
    cast(mix_amount as decimal(18, 4)) as aov_mix_amount,
    cast(case when place = 1 then rate_amount + aov_change - total else rate_amount end as decimal(18, 4))
        as aov_rate_amount,
    cast(aov_change as decimal(18, 4)) as aov_change_amount
from settled
