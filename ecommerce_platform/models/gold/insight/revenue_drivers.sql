-- The pairs of periods that are compared, by their first and last days. reading/drivers.py puts other pairs here.
with pairs as (

    select
        comparisons.comparison,
        cast(months.month as date) as first_date,
        cast(months.month + interval 1 month - interval 1 day as date) as last_date,
        cast(
            case comparisons.comparison
                when 'previous' then months.month - interval 1 month
                else months.month - interval 12 month
            end as date
        ) as before_first_date,
        cast(
            case comparisons.comparison
                when 'previous' then months.month - interval 1 day
                else months.month - interval 12 month + interval 1 month - interval 1 day
            end as date
        ) as before_last_date
    from (select distinct month from gold.dim_date) as months
    cross join (values ('previous'), ('year_before')) as comparisons (comparison)
    cross join (
        select
            cast(date_trunc('month', min(order_date)) as date) as first_month,
            cast(date_trunc('month', max(order_date)) as date) as last_month
        from gold.fct_orders
    ) as known
    where
        months.month <= known.last_month
        and case comparisons.comparison
            when 'previous' then months.month - interval 1 month
            else months.month - interval 12 month
        end >= known.first_month

),

coverage as (

    select
        month,
        is_complete
    from gold.month_coverage

),

periods as (

    select
        first_date,
        last_date
    from pairs
    union
    select
        before_first_date as first_date,
        before_last_date as last_date
    from pairs

),

-- Orders of nobody have no customers to be a product of: they stand apart, with the valid lines of orders that do not
-- count.
orders as (

    select
        order_date,
        case when is_counted then person_id end as person_id,
        units,
        gross_amount,
        revenue_amount
    from gold.fct_orders
    where valid_lines > 0

),

totals as (

    select
        periods.first_date,
        periods.last_date,
        count(distinct orders.person_id) as customers,
        count(orders.person_id) as orders,
        coalesce(sum(orders.units) filter (where orders.person_id is not null), 0) as units,
        coalesce(sum(orders.gross_amount) filter (where orders.person_id is not null), 0) as gross_amount,
        coalesce(sum(orders.revenue_amount) filter (where orders.person_id is not null), 0) as revenue,
        coalesce(sum(orders.revenue_amount) filter (where orders.person_id is null), 0) as revenue_of_nobody
    from periods
    left join orders on periods.first_date <= orders.order_date and periods.last_date >= orders.order_date
    group by periods.first_date, periods.last_date

),

-- Revenue is the product of these five; without customers, units or gross sales there are no such factors.
factored as (

    select
        first_date,
        last_date,
        revenue,
        revenue_of_nobody,
        customers > 0 and units > 0 and gross_amount > 0 as is_defined,
        cast(customers as double) as customers,
        cast(orders as double) / nullif(customers, 0) as orders_per_customer,
        cast(units as double) / nullif(orders, 0) as units_per_order,
        cast(gross_amount as double) / nullif(units, 0) as price,
        cast(revenue as double) / nullif(gross_amount, 0) as paid_share
    from totals

),

compared as (

    select
        pairs.*,
        now.revenue - before.revenue as change,
        now.revenue_of_nobody - before.revenue_of_nobody as change_of_nobody,
        now.revenue + now.revenue_of_nobody as revenue,
        before.revenue + before.revenue_of_nobody as revenue_before,
        now.revenue_of_nobody as nobody_now,
        before.revenue_of_nobody as nobody_before,
        now.is_defined and before.is_defined as is_defined,
        now.customers as customers_now,
        before.customers as customers_before,
        now.orders_per_customer as orders_now,
        before.orders_per_customer as orders_before,
        now.units_per_order as units_now,
        before.units_per_order as units_before,
        now.price as price_now,
        before.price as price_before,
        now.paid_share as paid_now,
        before.paid_share as paid_before,
        coalesce(coverage.is_complete and coverage_before.is_complete, false) as is_complete
    from pairs
    inner join factored as now on pairs.first_date = now.first_date and pairs.last_date = now.last_date
    inner join factored as before
        on pairs.before_first_date = before.first_date and pairs.before_last_date = before.last_date
    left join coverage on pairs.first_date = coverage.month
    left join coverage as coverage_before on pairs.before_first_date = coverage_before.month

),

bits as (

    select bit
    from (values (0), (1)) as b (bit)

),

-- Every set of factors that have changed already: with five of them thirty-two, instead of 120 orders of changing.
sets as (

    select
        a.bit as has_customers,
        b.bit as has_orders,
        c.bit as has_units,
        d.bit as has_price,
        e.bit as has_paid,
        a.bit + b.bit + c.bit + d.bit + e.bit as size
    from bits as a
    cross join bits as b
    cross join bits as c
    cross join bits as d
    cross join bits as e

),

-- What revenue would be with these factors as they are now and the others as they were; as a decimal, so that what is
-- summed over sets does not depend on their order.
worths as (

    select
        compared.comparison,
        compared.first_date,
        compared.last_date,
        compared.before_first_date,
        compared.before_last_date,
        sets.*,
        cast(
            case when sets.has_customers = 1 then compared.customers_now else compared.customers_before end
            * case when sets.has_orders = 1 then compared.orders_now else compared.orders_before end
            * case when sets.has_units = 1 then compared.units_now else compared.units_before end
            * case when sets.has_price = 1 then compared.price_now else compared.price_before end
            * case when sets.has_paid = 1 then compared.paid_now else compared.paid_before end
            as decimal(30, 8)
        ) as worth
    from compared
    cross join sets
    where compared.is_defined

),

factors as (

    select
        number,
        part
    from (
        values
        (1, 'customers'), (2, 'orders_per_customer'), (3, 'units_per_order'), (4, 'price'), (5, 'discount'),
        (6, 'without_customer'), (7, 'not_split')
    ) as f (number, part)

),

-- A factor's Shapley value: what it adds to each set without it, by how many of the 120 orders pass through there.
shares as (

    select
        worths.comparison,
        worths.first_date,
        worths.last_date,
        worths.before_first_date,
        worths.before_last_date,
        factors.number,
        cast(
            cast(
                sum(
                    worths.worth * case
                        when
                            case factors.number
                                when 1 then worths.has_customers
                                when 2 then worths.has_orders
                                when 3 then worths.has_units
                                when 4 then worths.has_price
                                else worths.has_paid
                            end = 1
                            then case worths.size when 1 then 24 when 2 then 6 when 3 then 4 when 4 then 6 else 24 end
                        else -case worths.size when 0 then 24 when 1 then 6 when 2 then 4 when 3 then 6 else 24 end
                    end
                ) as double
            ) / 120 as decimal(18, 4)
        ) as amount
    from worths
    inner join factors on factors.number <= 5
    group by
        worths.comparison, worths.first_date, worths.last_date, worths.before_first_date, worths.before_last_date,
        factors.number

),

-- What rounding leaves goes to the largest part.
rounded as (

    select
        shares.*,
        sum(shares.amount) over (
            partition by
                shares.comparison, shares.first_date, shares.last_date, shares.before_first_date,
                shares.before_last_date
        ) as total,
        row_number() over (
            partition by
                shares.comparison, shares.first_date, shares.last_date, shares.before_first_date,
                shares.before_last_date
            order by abs(shares.amount) desc, shares.number
        ) as place
    from shares

)

select
    compared.comparison,
    compared.first_date,
    factors.part,

    compared.last_date,
    compared.before_first_date,
    compared.before_last_date,
    compared.is_complete,

    cast(
        case
            when factors.number = 6 then compared.change_of_nobody
            when factors.number = 7 then case when compared.is_defined then 0 else compared.change end
            when rounded.place = 1 then rounded.amount + compared.change - rounded.total
            else rounded.amount
        end as decimal(18, 4)
    ) as amount,
    case factors.number
        when 1 then compared.customers_before
        when 2 then compared.orders_before
        when 3 then compared.units_before
        when 4 then compared.price_before
        when 5 then compared.paid_before
        when 6 then cast(compared.nobody_before as double)
    end as factor_before,
    case factors.number
        when 1 then compared.customers_now
        when 2 then compared.orders_now
        when 3 then compared.units_now
        when 4 then compared.price_now
        when 5 then compared.paid_now
        when 6 then cast(compared.nobody_now as double)
    end as factor_now,

    cast(compared.revenue_before as decimal(18, 4)) as revenue_before,
    cast(compared.revenue as decimal(18, 4)) as revenue,
    cast(compared.revenue - compared.revenue_before as decimal(18, 4)) as change_amount
from compared
cross join factors
left join rounded
    on
        compared.comparison = rounded.comparison
        and compared.first_date = rounded.first_date
        and compared.last_date = rounded.last_date
        and compared.before_first_date = rounded.before_first_date
        and compared.before_last_date = rounded.before_last_date
        and factors.number = rounded.number
