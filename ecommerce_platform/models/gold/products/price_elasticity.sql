-- What is bought first in an order is chosen; what comes after it often goes with it, whatever it costs.
with first_lines as (

    select
        items.product_id,
        coalesce(products.category, 'unknown') as category,
        cast(date_trunc('month', items.order_date) as date) as month,
        items.quantity,
        items.revenue_amount
    from gold.fct_order_items as items
    left join gold.dim_product as products on items.product_id = products.product_id
    where items.is_valid and items.line_number = 1

),

months as (

    select
        month,
        count(*) over () as months
    from gold.month_coverage
    where is_complete
    group by month

),

product_months as (

    select
        first_lines.category,
        first_lines.product_id,
        first_lines.month,
        months.months,
        count(*) as valid_lines,
        cast(
            ln(cast(sum(first_lines.revenue_amount) as double) / nullif(sum(first_lines.quantity), 0))
            as decimal(18, 12)
        ) as log_price
    from first_lines
    inner join months on first_lines.month = months.month
    where first_lines.quantity > 0 and first_lines.revenue_amount > 0
    group by first_lines.category, first_lines.product_id, first_lines.month, months.months

),

products as (

    select
        category,
        product_id,
        sum(valid_lines) as valid_lines,
        count(*) = max(months) and sum(valid_lines) >= 5 * max(months) and max(months) >= 3 as is_used
    from product_months
    group by category, product_id

),

-- A count with a half added has nearly the logarithm of what it scatters about; of the share, what belongs to the
-- whole category stands in every product alike, and is taken out with the month.
observed as (

    select
        product_months.category,
        product_months.product_id,
        product_months.month,
        product_months.months,
        products.valid_lines as weight,
        product_months.log_price,
        cast(ln(product_months.valid_lines + 0.5) as decimal(18, 12)) as log_share
    from product_months
    inner join products
        on product_months.category = products.category and product_months.product_id = products.product_id
    where products.is_used

),

-- What is the product's own in all months goes out first, then what all products of the category share in a month.
within_products as (

    select
        category,
        product_id,
        month,
        months,
        weight,
        cast(
            log_price - cast(sum(log_price) over (partition by category, product_id) as double) / nullif(months, 0)
            as decimal(18, 12)
        ) as price,
        cast(
            log_share - cast(sum(log_share) over (partition by category, product_id) as double) / nullif(months, 0)
            as decimal(18, 12)
        ) as share
    from observed

),

within_months as (

    select
        category,
        product_id,
        months,
        weight,
        price - cast(sum(weight * price) over (partition by category, month) as double)
        / nullif(sum(weight) over (partition by category, month), 0) as price,
        share - cast(sum(weight * share) over (partition by category, month) as double)
        / nullif(sum(weight) over (partition by category, month), 0) as share
    from within_products

),

slopes as (

    select
        category,
        max(months) as months,
        count(distinct product_id) as products,
        cast(sum(cast(weight * price * price as decimal(38, 12))) as double) as spread,
        cast(sum(cast(weight * price * share as decimal(38, 12))) as double)
        / nullif(cast(sum(cast(weight * price * price as decimal(38, 12))) as double), 0) as slope
    from within_months
    group by category

),

-- By product: what one has sold too much in a month it may sell too much in the next.
residuals as (

    select
        within_months.category,
        within_months.product_id,
        cast(
            sum(
                cast(
                    within_months.weight * within_months.price
                    * (within_months.share - slopes.slope * within_months.price) as decimal(38, 12)
                )
            ) as double
        ) as score,
        cast(
            sum(
                cast(
                    within_months.weight * power(within_months.share - slopes.slope * within_months.price, 2)
                    as decimal(38, 12)
                )
            ) as double
        ) as squares
    from within_months
    inner join slopes on within_months.category = slopes.category
    group by within_months.category, within_months.product_id

),

scattered as (

    select
        category,
        cast(sum(cast(score * score as decimal(38, 12))) as double) as scores,
        cast(sum(cast(squares as decimal(38, 12))) as double) as squares
    from residuals
    group by category

),

-- The larger of two errors: few products make the one that is clustered by product too small now and then.
errors as (

    select
        slopes.*,
        sqrt(
            greatest(
                scattered.scores / nullif(slopes.spread * slopes.spread, 0)
                * slopes.products / nullif(slopes.products - 1, 0),
                scattered.squares
                / nullif(slopes.spread * ((slopes.products - 1) * (slopes.months - 1) - 1), 0)
            )
        ) as error,
        cast(nullif(slopes.products - 1, 0) as double) as degrees
    from slopes
    inner join scattered on slopes.category = scattered.category
    where slopes.products >= 3

),

-- Dear products beside cheap ones, whatever they are.
naive as (

    select
        category,
        count(*) as points,
        cast(sum(log_price) as double) as prices,
        cast(sum(log_share) as double) as shares,
        cast(sum(cast(log_price * cast(log_price as double) as decimal(38, 12))) as double) as squares,
        cast(sum(cast(log_price * cast(log_share as double) as decimal(38, 12))) as double) as products
    from observed
    group by category

),

-- Student's t for 95 %, by its expansion about the normal (Abramowitz and Stegun 26.7.5).
bounded as (

    select
        category,
        slope,
        error * (
            1.959964 + 2.372270 / nullif(degrees, 0) + 2.822504 / nullif(power(degrees, 2), 0)
            + 2.555851 / nullif(power(degrees, 3), 0) + 1.589533 / nullif(power(degrees, 4), 0)
        ) as margin
    from errors

),

used as (

    select
        category,
        count(*) filter (where is_used) as products,
        coalesce(sum(valid_lines) filter (where is_used), 0) as valid_lines
    from products
    group by category

),

sold as (

    select
        category,
        count(*) as first_lines,
        count(distinct product_id) as products
    from first_lines
    group by category

)

select
    sold.category,

    sold.first_lines,
    sold.products,
    coalesce(used.products, 0) as products_used,
    cast(coalesce(used.valid_lines, 0) as bigint) as first_lines_used,
    bounded.slope as elasticity,
    bounded.slope - bounded.margin as elasticity_low,
    bounded.slope + bounded.margin as elasticity_high,
    case
        when bounded.slope is not null
            then
                (naive.points * naive.products - naive.prices * naive.shares)
                / nullif(naive.points * naive.squares - naive.prices * naive.prices, 0)
    end as elasticity_naive
from sold
left join used on sold.category = used.category
left join bounded on sold.category = bounded.category
left join naive on sold.category = naive.category
