-- Everything that is read is read without repeats: a row that came twice would be taken for a surer finding.
with shop as (

    select distinct currency
    from silver.shop

),

summary as (

    select distinct cast(aov as double) as aov
    from gold.kpi_summary

),

drivers as (

    select distinct
        comparison,
        first_date,
        last_date,
        before_first_date,
        before_last_date,
        part,
        amount,
        revenue_before,
        change_amount
    from gold.revenue_drivers
    where is_complete and comparison = 'year_before'

),

factors as (

    select distinct
        factor,
        threshold,
        customers_with,
        churn_rate_with,
        churn_rate_without,
        lift,
        lift_low,
        lift_high
    from gold.churn_factors
    where lift_low > 0

),

experiences as (

    select distinct
        exposure,
        level,
        reference,
        persons_back,
        adjusted_ratio,
        adjusted_ratio_low,
        adjusted_ratio_high
    from gold.delivery_experience
    where adjusted_ratio_low > 0

),

discounts as (

    select distinct
        category,
        sale_days_compared,
        units_expected,
        volume_ratio_adjusted,
        cast(sale_profit - profit_expected as double) as profit_change,
        profit_change_low,
        profit_change_high
    from gold.discount_performance
    where sale_days_compared >= 10 and profit_change_low is not null

),

pairs as (

    select distinct
        product_id,
        other_product_id,
        coalesce(product_name, product_id) as product,
        coalesce(other_product_name, other_product_id) as other_product,
        orders_together,
        cast(orders_with_product as double) * orders_with_other / nullif(orders, 0) as orders_expected,
        lift
    from gold.product_affinity

),

products as (

    select distinct
        product_id,
        cast(price_paid as double) as price_paid
    from gold.product_performance

),

campaigns as (

    select distinct
        campaign_id,
        coalesce(name, campaign_id) as campaign,
        credited_orders,
        incremental_orders,
        incremental_orders_high
    from gold.campaign_performance
    where incremental_orders is not null

),

people as (

    select distinct
        person_id,
        customer_segment,
        age_group,
        region
    from gold.dim_customer

),

values_of_people as (

    select distinct
        person_id,
        cast(revenue as decimal(19, 4)) as revenue
    from gold.customer_lifetime_value

),

segments as (

    select distinct
        dimension,
        value
    from gold.revenue_by_segment

),

-- Revenue of the newest complete month beside the same month a year before. Whoever buys more than once does not buy
-- independently: it scatters by what each buyer brought.
newest as (

    select
        first_date,
        last_date,
        before_first_date,
        before_last_date,
        part,
        amount,
        revenue_before,
        change_amount
    from drivers
    qualify
        row_number() over (
            order by
                first_date desc, case when sign(amount) = sign(change_amount) then abs(amount) else 0 end desc, part asc
        ) = 1

),

orders as (

    select distinct
        orders.order_id,
        coalesce(orders.person_id, orders.order_id) as buyer_id,
        newest.first_date,
        newest.first_date <= orders.order_date as is_now,
        orders.revenue_amount
    from newest
    inner join gold.fct_orders as orders
        on
            (newest.first_date <= orders.order_date and newest.last_date >= orders.order_date)
            or (newest.before_first_date <= orders.order_date and newest.before_last_date >= orders.order_date)
    where orders.valid_lines > 0

),

bought as (

    select
        first_date,
        buyer_id,
        is_now,
        cast(sum(revenue_amount) as decimal(19, 4)) as revenue
    from orders
    group by first_date, buyer_id, is_now

),

scatter as (

    select
        first_date,
        sqrt(cast(sum(revenue * revenue) as double)) as error
    from bought
    group by first_date

),

-- What customers of one kind brought, beside all others.
kinds as (

    select
        people.person_id,
        dimensions.dimension,
        case dimensions.dimension
            when 'segment' then people.customer_segment
            when 'age_group' then people.age_group
            else people.region
        end as value,
        values_of_people.revenue
    from people
    inner join values_of_people on people.person_id = values_of_people.person_id
    cross join (values ('segment'), ('age_group'), ('customer_region')) as dimensions (dimension)

),

of_kind as (

    select
        dimension,
        value,
        count(*) as customers,
        sum(revenue) as revenue,
        sum(revenue * revenue) as squares
    from kinds
    where value is not null
    group by dimension, value

),

beside as (

    select
        dimension,
        value,
        customers,
        cast(revenue as double) as revenue,
        cast(squares as double) as squares,
        sum(customers) over (partition by dimension) - customers as other_customers,
        cast(sum(revenue) over (partition by dimension) - revenue as double) as other_revenue,
        cast(sum(squares) over (partition by dimension) - squares as double) as other_squares
    from of_kind

),

means as (

    select
        dimension,
        value,
        customers,
        other_customers,
        revenue / nullif(customers, 0) as mean,
        other_revenue / nullif(other_customers, 0) as other_mean,
        sqrt(
            greatest(squares / nullif(customers, 0) - power(revenue / nullif(customers, 0), 2), 0)
            / nullif(customers, 0)
            + greatest(
                other_squares / nullif(other_customers, 0) - power(other_revenue / nullif(other_customers, 0), 2), 0
            ) / nullif(other_customers, 0)
        ) as error
    from beside
    where customers >= 100 and other_customers >= 100

),

-- Pairs that were together less than five times are not in the table, but were looked at as well.
possible_pairs as (

    select greatest(count(*) * (count(*) - 1) / 2, 1) as pairs
    from products

),

-- Each finding that might be one: its effect on a scale on which errors are normal (of ratios the logarithm), its
-- error, out of how many it was picked, and the money at stake.
candidates as (

    select
        'revenue' as topic,
        strftime(newest.first_date, '%Y-%m') as item,
        false as is_ratio,
        cast(newest.change_amount as double) as estimate,
        scatter.error,
        cast(null as double) as log_chance,
        1 as tried,
        cast(abs(newest.change_amount) as double) as amount,
        'Revenue of ' || strftime(newest.first_date, '%Y-%m') || ' was '
        || cast(cast(round(abs(newest.change_amount)) as bigint) as varchar) || ' ' || shop.currency
        || coalesce(
            ' (' || cast(
                cast(100 * abs(newest.change_amount / nullif(newest.revenue_before, 0)) as decimal(9, 1)) as varchar
            ) || ' %)', ''
        )
        || case when newest.change_amount < 0 then ' below' else ' above' end || ' that of '
        || strftime(newest.before_first_date, '%Y-%m') || '; the largest part of it, '
        || cast(cast(round(newest.amount) as bigint) as varchar) || ', came from '
        || case newest.part
            when 'customers' then 'the number of customers'
            when 'orders_per_customer' then 'orders per customer'
            when 'units_per_order' then 'units per order'
            when 'price' then 'the price of a unit'
            when 'discount' then 'discounts'
            when 'without_customer' then 'orders without a customer'
            else 'all at once'
        end as said,
        'gold.revenue_drivers' as source_table,
        'comparison = ''year_before'' and first_date = date ''' || cast(newest.first_date as varchar) || ''''
            as source_rows
    from newest
    inner join scatter on newest.first_date = scatter.first_date
    cross join shop
    union all
    select
        'churn' as topic,
        factors.factor as item,
        true as is_ratio,
        ln(nullif(factors.lift, 0)) as estimate,
        -- Their intervals are 2.914 errors to either side (gold.churn_factors).
        (ln(factors.lift_high) - ln(factors.lift_low)) / 5.828 as error,
        cast(null as double) as log_chance,
        count(*) over () as tried,
        factors.customers_with * abs(factors.churn_rate_with - factors.churn_rate_without) * summary.aov as amount,
        'Customers with ' || replace(factors.factor, '_', ' ') || ' ≥ '
        || replace(cast(cast(factors.threshold as decimal(18, 2)) as varchar), '.00', '') || ' left '
        || case when factors.lift > 1 then 'more' else 'less' end || ' often than others: '
        || cast(cast(100 * factors.churn_rate_with as decimal(9, 1)) as varchar) || ' % against '
        || cast(cast(100 * factors.churn_rate_without as decimal(9, 1)) as varchar) || ' %, '
        || cast(cast(factors.lift as decimal(18, 2)) as varchar) || ' times' as said,
        'gold.churn_factors' as source_table,
        'factor = ''' || factors.factor || '''' as source_rows
    from factors
    cross join summary
    union all
    select
        'delivery' as topic,
        experiences.exposure || ': ' || experiences.level as item,
        true as is_ratio,
        ln(nullif(experiences.adjusted_ratio, 0)) as estimate,
        (ln(experiences.adjusted_ratio_high) - ln(experiences.adjusted_ratio_low)) / 3.92 as error,
        cast(null as double) as log_chance,
        count(*) over () as tried,
        abs(experiences.persons_back / nullif(experiences.adjusted_ratio, 0) - experiences.persons_back)
        * summary.aov as amount,
        'Customers came back ' || cast(cast(experiences.adjusted_ratio as decimal(18, 2)) as varchar)
        || ' times as often within 90 days with ' || experiences.exposure || ' ' || experiences.level
        || ' at their first order as with ' || experiences.reference || ', the like beside the like' as said,
        'gold.delivery_experience' as source_table,
        'exposure = ''' || experiences.exposure || ''' and level = ''' || experiences.level || '''' as source_rows
    from experiences
    cross join summary
    union all
    select
        'discounts' as topic,
        discounts.category as item,
        false as is_ratio,
        discounts.profit_change as estimate,
        (discounts.profit_change_high - discounts.profit_change_low) / 3.92 as error,
        cast(null as double) as log_chance,
        count(*) over () as tried,
        -- A day without a line is never one of a sale: where few units are expected, a sale sells more for that alone.
        case
            when discounts.profit_change < 0 or discounts.units_expected >= 5 * discounts.sale_days_compared
                then abs(discounts.profit_change)
        end as amount,
        'On ' || cast(discounts.sale_days_compared as varchar) || ' days of a sale ' || discounts.category || ' earned '
        || cast(cast(round(abs(discounts.profit_change)) as bigint) as varchar) || ' ' || shop.currency
        || case when discounts.profit_change < 0 then ' less' else ' more' end
        || ' than like days let expect, at '
        || cast(cast(discounts.volume_ratio_adjusted as decimal(18, 2)) as varchar) || ' times their units' as said,
        'gold.discount_performance' as source_table,
        'category = ''' || replace(discounts.category, '''', '''''') || '''' as source_rows
    from discounts
    cross join shop
    union all
    -- Counts this small are not normal; how likely so many are by chance is at most e^(k − e) × (e / k)^k (Chernoff).
    select
        'products' as topic,
        pairs.product_id || ' + ' || pairs.other_product_id as item,
        true as is_ratio,
        ln(nullif(pairs.lift, 0)) as estimate,
        1 / nullif(sqrt(cast(pairs.orders_together as double)), 0) as error,
        pairs.orders_together - pairs.orders_expected
        - pairs.orders_together * ln(pairs.orders_together / nullif(pairs.orders_expected, 0)) as log_chance,
        possible_pairs.pairs as tried,
        (pairs.orders_together - pairs.orders_expected) * (coalesce(one.price_paid, 0) + coalesce(other.price_paid, 0))
            as amount,
        pairs.product || ' and ' || pairs.other_product || ' were in ' || cast(pairs.orders_together as varchar)
        || ' orders together, where '
        || cast(cast(pairs.orders_expected as decimal(18, 1)) as varchar) || ' are expected of chance' as said,
        'gold.product_affinity' as source_table,
        'product_id = ''' || replace(pairs.product_id, '''', '''''') || ''' and other_product_id = '''
        || replace(pairs.other_product_id, '''', '''''') || '''' as source_rows
    from pairs
    cross join possible_pairs
    left join products as one on pairs.product_id = one.product_id
    left join products as other on pairs.other_product_id = other.product_id
    where pairs.lift > 1
    union all
    select
        'campaigns' as topic,
        campaigns.campaign_id as item,
        false as is_ratio,
        campaigns.incremental_orders as estimate,
        (campaigns.incremental_orders_high - campaigns.incremental_orders) / 1.96 as error,
        cast(null as double) as log_chance,
        count(*) over () as tried,
        abs(campaigns.incremental_orders) * summary.aov as amount,
        'Campaign ' || campaigns.campaign || ' brought '
        || cast(cast(round(campaigns.incremental_orders) as bigint) as varchar)
        || ' orders beyond those of regions without it; ' || cast(campaigns.credited_orders as varchar)
        || ' are credited to it' as said,
        'gold.campaign_performance' as source_table,
        'campaign_id = ''' || replace(campaigns.campaign_id, '''', '''''') || '''' as source_rows
    from campaigns
    cross join summary
    union all
    select
        'customers' as topic,
        means.dimension || ': ' || means.value as item,
        false as is_ratio,
        means.mean - means.other_mean as estimate,
        means.error,
        cast(null as double) as log_chance,
        count(*) over () as tried,
        abs(means.mean - means.other_mean) * least(means.customers, means.other_customers) as amount,
        'Customers of ' || replace(means.dimension, '_', ' ') || ' ' || means.value || ' brought '
        || cast(cast(round(means.mean) as bigint) as varchar) || ' ' || shop.currency || ' each, others '
        || cast(cast(round(means.other_mean) as bigint) as varchar) as said,
        'gold.revenue_by_segment' as source_table,
        'dimension = ''' || means.dimension || ''' and value = ''' || replace(means.value, '''', '''''') || ''''
            as source_rows
    from means
    inner join segments on means.dimension = segments.dimension and means.value = segments.value
    cross join shop

),

-- Less than 5 % for all of the table together: an eighth of it for each of the seven topics, shared by the findings it
-- was picked from.
chances as (

    select
        *,
        -2 * ln(cast(0.05 as double) / nullif(16 * cast(tried as double), 0)) as squared
    from candidates
    where estimate is not null and error > 0 and amount > 0

),

roots as (

    select
        *,
        sqrt(squared) as root
    from chances

),

-- The normal deviate of that chance (Abramowitz and Stegun 26.2.23, right to 0.00045).
bounded as (

    select
        *,
        root - (2.515517 + 0.802853 * root + 0.010328 * root * root)
        / nullif(1 + 1.432788 * root + 0.189269 * root * root + 0.001308 * root * root * root, 0) as deviations
    from roots

),

sure as (

    select
        *,
        row_number() over (partition by topic order by amount desc, item asc) as place
    from bounded
    where
        abs(estimate) > deviations * error
        and coalesce(log_chance < -squared / 2, true)

)

select
    row_number() over (order by amount desc, topic asc, item asc) as rank,

    topic,
    item,
    said || '.' as sentence,
    cast(amount as decimal(18, 4)) as amount,

    case when is_ratio then exp(estimate) else estimate end as effect,
    case when is_ratio then exp(estimate - deviations * error) else estimate - deviations * error end as effect_low,
    case when is_ratio then exp(estimate + deviations * error) else estimate + deviations * error end as effect_high,
    case when is_ratio then 1 else 0 end as no_effect,
    cast(tried as bigint) as tried,

    source_table,
    source_rows
from sure
where place <= 3
