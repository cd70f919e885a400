-- What lay in all places together, per product and day of counting.
with counts as (

    select
        product_id,
        snapshot_date,
        sum(on_hand) as on_hand,
        sum(reorder_point) as reorder_point,
        max(lead_time_days) as lead_time_days
    from silver.inventory_snapshots
    group by product_id, snapshot_date

),

last_order as (

    select max(order_date) as last_date
    from gold.fct_orders

),

-- From the day after a count to the next count: what lay there at its beginning is all that is known of these days.
counted_spells as (

    select
        counts.product_id,
        coalesce(products.category, 'unknown') as category,
        cast(counts.snapshot_date + 1 as date) as first_date,
        cast(
            coalesce(
                lead(counts.snapshot_date) over (partition by counts.product_id order by counts.snapshot_date),
                last_order.last_date
            ) as date
        ) as last_date,
        counts.on_hand <= 0 as is_empty
    from counts
    cross join last_order
    left join gold.dim_product as products on counts.product_id = products.product_id

),

spells as (

    select *
    from counted_spells
    where first_date <= last_date

),

latest as (

    select
        product_id,
        max(snapshot_date) as snapshot_date,
        count(*) as counts,
        count(*) filter (where on_hand <= 0) as empty_counts
    from counts
    group by product_id

),

sales as (

    select
        items.product_id,
        items.order_date,
        coalesce(products.category, 'unknown') as category,
        sum(items.quantity) as units
    from gold.fct_order_items as items
    left join gold.dim_product as products on items.product_id = products.product_id
    where items.is_valid
    group by items.product_id, items.order_date, coalesce(products.category, 'unknown')

),

-- Spells of products that are counted on the same days are the same: a day is looked up once.
distinct_spells as (

    select distinct
        first_date,
        last_date
    from spells

),

selling_days as (

    select distinct order_date
    from sales

),

spell_days as (

    select
        distinct_spells.first_date,
        distinct_spells.last_date,
        selling_days.order_date
    from distinct_spells
    inner join selling_days
        on
            distinct_spells.first_date <= selling_days.order_date
            and distinct_spells.last_date >= selling_days.order_date

),

product_spells as (

    select
        sales.category,
        sales.product_id,
        spell_days.first_date,
        spell_days.last_date,
        sum(sales.units) as units
    from sales
    inner join spell_days on sales.order_date = spell_days.order_date
    group by sales.category, sales.product_id, spell_days.first_date, spell_days.last_date

),

category_spells as (

    select
        category,
        first_date,
        last_date,
        sum(units) as units
    from product_spells
    group by category, first_date, last_date

),

-- Beside each spell what the rest of the category sold in it; stocked ones are numbered, empty ones have the number of
-- the last stocked one before them.
numbered as (

    select
        spells.product_id,
        spells.category,
        spells.is_empty,
        date_diff('day', spells.first_date, spells.last_date) + 1 as days,
        coalesce(product_spells.units, 0) as units,
        coalesce(category_spells.units, 0) - coalesce(product_spells.units, 0) as units_beside,
        sum(case when spells.is_empty then 0 else 1 end) over (
            partition by spells.product_id order by spells.first_date rows unbounded preceding
        ) as number
    from spells
    left join product_spells
        on
            spells.product_id = product_spells.product_id
            and spells.first_date = product_spells.first_date
            and spells.last_date = product_spells.last_date
    left join category_spells
        on
            spells.category = category_spells.category
            and spells.first_date = category_spells.first_date
            and spells.last_date = category_spells.last_date

),

paces as (

    select
        product_id,
        cast(sum(units) as double) / nullif(sum(units_beside), 0) as pace
    from numbered
    where not is_empty
    group by product_id

),

-- How many times as much as single purchases units scatter about this pace: they are bought several at a time, and
-- prices and tastes change (quasi-Poisson: McCullagh and Nelder 1989, Generalized Linear Models, 4.5).
dispersions as (

    select
        numbered.category,
        cast(sum(cast(power(numbered.units - paces.pace * numbered.units_beside, 2) as decimal(38, 10))) as double)
        / nullif(cast(sum(cast(paces.pace * numbered.units_beside as decimal(38, 10))) as double), 0) as dispersion
    from numbered
    inner join paces on numbered.product_id = paces.product_id
    where not numbered.is_empty
    group by numbered.category

),

empty_spells as (

    select
        product_id,
        number,
        sum(days) as days,
        sum(units) as units,
        sum(units_beside) as units_beside
    from numbered
    where is_empty
    group by product_id, number

),

stocked_spells as (

    select
        product_id,
        number,
        units,
        units_beside
    from numbered
    where not is_empty
    union all
    select distinct
        product_id,
        0 as number,
        0 as units,
        0 as units_beside
    from numbered

),

-- An empty spell is compared with the thirteen stocked ones that follow it. Not with those before, which sold much, or
-- the shelf would not be empty, unless none follows; and not with as many as there are, which is chance, too.
around as (

    select
        product_id,
        number,
        units,
        units_beside,
        sum(units_beside) over (
            partition by product_id order by number rows between 1 following and 13 following
        ) as beside_after,
        sum(units_beside) over (partition by product_id order by number rows unbounded preceding) as beside_before
    from stocked_spells

),

needed as (

    select
        around.product_id,
        around.number,
        around.units,
        around.units_beside,
        empty_spells.days,
        empty_spells.units as units_empty,
        case
            when around.beside_after > 0
                then cast(empty_spells.units_beside / nullif(cast(around.beside_after as double), 0) as decimal(24, 10))
        end as share_of_after,
        case
            when coalesce(around.beside_after, 0) = 0
                then
                    cast(empty_spells.units_beside / nullif(cast(around.beside_before as double), 0) as decimal(24, 10))
        end as share_of_before
    from around
    left join empty_spells on around.product_id = empty_spells.product_id and around.number = empty_spells.number

),

-- How much each stocked spell counts for all the empty ones that are compared with it.
weighed as (

    select
        *,
        coalesce(
            sum(share_of_after) over (
                partition by product_id order by number rows between 13 preceding and 1 preceding
            ), 0
        ) + coalesce(
            sum(share_of_before) over (
                partition by product_id order by number rows between current row and unbounded following
            ), 0
        ) as weight
    from needed

),

compared as (

    select
        product_id,
        coalesce(sum(days), 0) as days_empty,
        coalesce(sum(units_empty), 0) as units_empty,
        case
            when count(days) = count(share_of_after) + count(share_of_before)
                then cast(sum(weight * units) as double)
        end as units_expected,
        cast(sum(weight * units_beside) as double)
        + cast(sum(cast(cast(weight as double) * weight * units_beside as decimal(38, 10))) as double) as beside
    from weighed
    group by product_id

),

recent as (

    select
        sales.product_id,
        sum(sales.units) as units_28_days,
        sum(sales.units * sales.units) as squares
    from sales
    cross join last_order
    where date_diff('day', sales.order_date, last_order.last_date) < 28
    group by sales.product_id

),

measured as (

    select
        latest.product_id,
        latest.snapshot_date,
        latest.counts,
        latest.empty_counts,
        counts.on_hand,
        counts.reorder_point,
        counts.lead_time_days,
        coalesce(recent.units_28_days, 0) as units_28_days,
        coalesce(recent.units_28_days, 0) / 28 as units_per_day,
        -- Of the 28 days, those without a sale included.
        sqrt(
            greatest(
                coalesce(recent.squares, 0) - coalesce(recent.units_28_days * recent.units_28_days, 0) / 28, 0
            ) / 27
        ) as daily_deviation,
        coalesce(compared.days_empty, 0) as days_empty,
        coalesce(compared.units_empty, 0) as units_sold_empty,
        case when compared.product_id is null then 0 else compared.units_expected end as units_expected_empty,
        -- By the usual pace, not by what was sold in the spells compared: else a figure that is too low by chance would
        -- look surer than it is.
        coalesce(paces.pace * compared.beside, 0) as scatter,
        greatest(coalesce(dispersions.dispersion, 1), 1) as dispersion
    from latest
    inner join counts on latest.product_id = counts.product_id and latest.snapshot_date = counts.snapshot_date
    left join recent on latest.product_id = recent.product_id
    left join compared on latest.product_id = compared.product_id
    left join gold.dim_product as products on latest.product_id = products.product_id
    left join paces on latest.product_id = paces.product_id
    left join dispersions on coalesce(products.category, 'unknown') = dispersions.category

),

-- Both what is wanted and what it is compared with scatter, as counts of purchases do; one more, since none is a count.
bounded as (

    select
        *,
        units_expected_empty - units_sold_empty as lost,
        case
            when days_empty > 0 then 1.96 * sqrt(dispersion * (scatter + 1))
            else 0
        end as margin,
        units_per_day * lead_time_days + 1.65 * daily_deviation * sqrt(lead_time_days) as reorder_point_needed
    from measured

)

select
    bounded.product_id,

    products.name,
    products.category,

    bounded.snapshot_date,
    cast(bounded.on_hand as bigint) as on_hand,
    cast(bounded.reorder_point as bigint) as reorder_point,
    bounded.lead_time_days,
    cast(bounded.on_hand * products.unit_cost as decimal(18, 4)) as stock_cost_amount,

    cast(bounded.units_28_days as bigint) as units_28_days,
    bounded.units_per_day,
    bounded.on_hand / nullif(bounded.units_per_day, 0) as days_of_cover,
    cast(ceil(bounded.reorder_point_needed) as bigint) as reorder_point_needed,
    case
        when bounded.on_hand <= 0 then 'out of stock'
        when bounded.on_hand <= bounded.reorder_point then 'to be ordered'
        when bounded.units_28_days = 0 then 'not selling'
        when bounded.on_hand > 180 * bounded.units_per_day then 'overstocked'
        else 'in stock'
    end as state,

    bounded.counts,
    bounded.empty_counts,
    bounded.empty_counts / nullif(bounded.counts, 0) as empty_share,
    cast(bounded.days_empty as bigint) as days_empty,
    cast(bounded.units_sold_empty as bigint) as units_sold_empty,
    bounded.units_expected_empty,
    bounded.lost as lost_units,
    bounded.lost - bounded.margin as lost_units_low,
    bounded.lost + bounded.margin as lost_units_high
from bounded
left join gold.dim_product as products on bounded.product_id = products.product_id
