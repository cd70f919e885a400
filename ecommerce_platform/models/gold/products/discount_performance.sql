with items as (

    select
        items.order_date,
        items.product_id,
        coalesce(products.category, 'unknown') as category,
        items.quantity,
        items.gross_amount,
        items.discount_amount,
        items.revenue_amount,
        items.profit_amount,
        items.discount_amount > 0 as is_discounted
    from gold.fct_order_items as items
    left join gold.dim_product as products on items.product_id = products.product_id
    where items.is_valid

),

days_sold as (

    select
        category,
        order_date,
        count(*) as valid_lines,
        count(*) filter (where is_discounted) as discounted_lines,
        sum(quantity) as units,
        sum(profit_amount) as net_profit
    from items
    group by category, order_date

),

spans as (

    select
        category,
        min(order_date) as first_date,
        max(order_date) as last_date
    from days_sold
    group by category

),

-- A day of a sale: at least half of the category's lines carry a discount. Days on which it sold nothing are days too.
days as (

    select
        spans.category,
        calendar.calendar_date,
        calendar.month,
        calendar.is_weekend,
        coalesce(days_sold.units, 0) as units,
        cast(coalesce(days_sold.net_profit, 0) as decimal(19, 4)) as net_profit,
        coalesce(2 * days_sold.discounted_lines >= days_sold.valid_lines, false) as is_sale
    from spans
    inner join gold.dim_date as calendar
        on spans.first_date <= calendar.calendar_date and spans.last_date >= calendar.calendar_date
    left join days_sold on spans.category = days_sold.category and calendar.calendar_date = days_sold.order_date

),

naive as (

    select
        category,
        count(*) as days,
        count(*) filter (where is_sale) as sale_days,
        sum(units) filter (where is_sale) as sale_units,
        sum(units) filter (where not is_sale) as other_units
    from days
    group by category

),

-- Days of a sale beside others of the same month and the same part of the week: sales are held when much is sold
-- anyway.
strata as (

    select
        category,
        month,
        is_weekend,
        count(*) filter (where is_sale) as sale_days,
        count(*) filter (where not is_sale) as other_days,
        sum(units) filter (where is_sale) as sale_units,
        sum(units) filter (where not is_sale) as other_units,
        sum(net_profit) filter (where is_sale) as sale_profit,
        sum(net_profit) filter (where not is_sale) as other_profit,
        sum(net_profit * net_profit) filter (where is_sale) as sale_squares,
        sum(net_profit * net_profit) filter (where not is_sale) as other_squares
    from days
    group by category, month, is_weekend

),

-- In decimals, so that the sum over strata does not depend on their order.
adjusted as (

    select
        category,
        sum(sale_days) as sale_days_compared,
        sum(sale_units) as sale_units,
        cast(
            sum(cast(other_units * sale_days / nullif(cast(other_days as double), 0) as decimal(30, 8))) as double
        ) as units_expected,
        sum(sale_profit) as sale_profit,
        cast(
            sum(cast(other_profit * sale_days / nullif(cast(other_days as double), 0) as decimal(30, 8))) as double
        ) as profit_expected,
        sum(other_days) as other_days_compared,
        count(*) as strata,
        cast(
            sum(cast(sale_days * sale_days / nullif(cast(other_days as double), 0) as decimal(30, 8))) as double
        ) as expected_days_squared,
        cast(
            sum(cast(sale_squares - sale_profit * sale_profit / nullif(cast(sale_days as double), 0) as decimal(30, 8)))
            as double
        ) as sale_scatter,
        cast(
            sum(
                cast(
                    other_squares - other_profit * other_profit / nullif(cast(other_days as double), 0)
                    as decimal(30, 8)
                )
            ) as double
        ) as other_scatter
    from strata
    where sale_days > 0 and other_days > 0
    group by category

),

-- How far the profit of single days lies from the mean of those beside them says how far the sum may be off: that of
-- the days of a sale, and that which is expected of them.
scattered as (

    select
        category,
        case
            when sale_days_compared > strata and other_days_compared > strata
                then
                    1.96 * sqrt(
                        greatest(
                            sale_days_compared * sale_scatter
                            / nullif(cast(sale_days_compared - strata as double), 0)
                            + expected_days_squared * other_scatter
                            / nullif(cast(other_days_compared - strata as double), 0),
                            0
                        )
                    )
        end as margin
    from adjusted

),

products as (

    select
        category,
        product_id,
        sum(quantity) filter (where is_discounted and profit_amount is not null) as discounted_units,
        sum(profit_amount) filter (where is_discounted) as discounted_profit,
        sum(quantity) filter (where not is_discounted and profit_amount is not null) as full_units,
        sum(profit_amount) filter (where not is_discounted) as full_profit
    from items
    group by category, product_id

),

margins as (

    select
        category,
        sum(discounted_units) as discounted_units,
        sum(discounted_profit) as discounted_profit,
        sum(full_units) as full_units,
        sum(full_profit) as full_profit,
        sum(discounted_units) filter (where full_units > 0 and discounted_units > 0) as matched_units,
        cast(
            sum(
                cast(full_profit * discounted_units / nullif(cast(full_units as double), 0) as decimal(30, 8))
            ) filter (where full_units > 0 and discounted_units > 0) as double
        ) as matched_profit
    from products
    group by category

),

lines as (

    select
        category,
        count(*) as valid_lines,
        count(*) filter (where is_discounted) as discounted_lines,
        sum(discount_amount) as discount_amount,
        sum(gross_amount) filter (where is_discounted) as discounted_gross_amount,
        sum(revenue_amount) as revenue
    from items
    group by category

)

select
    lines.category,

    lines.valid_lines,
    lines.discounted_lines,
    cast(lines.discount_amount as decimal(18, 4)) as discount_amount,
    cast(lines.revenue as decimal(18, 4)) as revenue,
    cast(lines.discount_amount as double) / nullif(lines.discounted_gross_amount, 0) as discount_depth,

    naive.days,
    naive.sale_days,
    naive.sale_units / nullif(cast(naive.sale_days as double), 0) as units_per_sale_day,
    naive.other_units / nullif(cast(naive.days - naive.sale_days as double), 0) as units_per_other_day,
    naive.sale_units / nullif(cast(naive.sale_days as double), 0)
    / nullif(naive.other_units / nullif(cast(naive.days - naive.sale_days as double), 0), 0) as volume_ratio_naive,
    cast(coalesce(adjusted.sale_days_compared, 0) as bigint) as sale_days_compared,
    adjusted.units_expected,
    adjusted.sale_units / nullif(adjusted.units_expected, 0) as volume_ratio_adjusted,
    cast(adjusted.sale_profit as decimal(18, 4)) as sale_profit,
    cast(adjusted.profit_expected as decimal(18, 4)) as profit_expected,
    adjusted.sale_profit - adjusted.profit_expected - scattered.margin as profit_change_low,
    adjusted.sale_profit - adjusted.profit_expected + scattered.margin as profit_change_high,

    cast(margins.discounted_profit as double) / nullif(margins.discounted_units, 0) as profit_per_discounted_unit,
    cast(margins.full_profit as double) / nullif(margins.full_units, 0) as profit_per_full_unit_naive,
    margins.matched_profit / nullif(margins.matched_units, 0) as profit_per_full_unit_adjusted
from lines
inner join naive on lines.category = naive.category
inner join margins on lines.category = margins.category
left join adjusted on lines.category = adjusted.category
left join scattered on lines.category = scattered.category
