with campaigns as (

    select
        campaign_id,
        name,
        channel,
        start_date,
        end_date,
        budget_amount
    from silver.campaigns

),

spent as (

    select
        campaign_id,
        sum(impressions) as impressions,
        sum(clicks) as clicks,
        sum(cost_amount) as cost_amount
    from silver.ad_spend
    group by campaign_id

),

orders as (

    select
        order_id,
        person_id,
        campaign_id,
        order_date,
        ordered_at,
        coalesce(region, 'unknown') as region,
        revenue_amount,
        profit_amount
    from gold.fct_orders
    where is_counted

),

first_orders as (

    select
        order_id,
        person_id
    from orders
    where person_id is not null
    qualify row_number() over (partition by person_id order by ordered_at, order_id) = 1

),

credited as (

    select
        orders.campaign_id,
        count(*) as orders,
        count(distinct orders.person_id) as customers,
        count(first_orders.order_id) as new_customers,
        sum(orders.revenue_amount) as revenue,
        sum(orders.profit_amount) as net_profit
    from orders
    left join first_orders on orders.order_id = first_orders.order_id
    where orders.campaign_id is not null
    group by orders.campaign_id

),

visited as (

    select
        campaign_id,
        count(*) as sessions,
        count(distinct visitor_id) as visitors
    from gold.sessions
    where campaign_id is not null
    group by campaign_id

),

campaign_days as (

    select
        campaign_id,
        start_date,
        end_date,
        cast(date_diff('day', start_date, end_date) + 1 as integer) as days
    from campaigns
    where start_date <= end_date

),

known as (

    select
        min(order_date) as first_date,
        max(order_date) as last_date
    from orders

),

-- Days of the campaign, and as many before it; only where the data hold all of both.
windows as (

    select
        campaign_days.campaign_id,
        campaign_days.start_date,
        campaign_days.end_date,
        cast(campaign_days.start_date - campaign_days.days as date) as before_date
    from campaign_days
    cross join known
    where
        campaign_days.end_date <= known.last_date
        and campaign_days.start_date - campaign_days.days >= known.first_date

),

region_days as (

    select
        region,
        order_date,
        count(*) as orders,
        sum(revenue_amount) as revenue
    from orders
    where region <> 'unknown'
    group by region, order_date

),

credited_regions as (

    select
        orders.campaign_id,
        orders.region,
        count(*) as orders
    from orders
    inner join windows on orders.campaign_id = windows.campaign_id
    where orders.region <> 'unknown' and orders.order_date between windows.start_date and windows.end_date
    group by orders.campaign_id, orders.region

),

by_region as (

    select
        windows.campaign_id,
        region_days.region,
        sum(case when region_days.order_date >= windows.start_date then region_days.orders else 0 end) as during,
        sum(case when region_days.order_date < windows.start_date then region_days.orders else 0 end) as before,
        sum(case when region_days.order_date >= windows.start_date then region_days.revenue else 0 end) as revenue
    from windows
    inner join region_days
        on windows.before_date <= region_days.order_date and windows.end_date >= region_days.order_date
    group by windows.campaign_id, region_days.region

),

shares as (

    select
        by_region.*,
        coalesce(credited_regions.orders, 0) / nullif(cast(by_region.during as double), 0) as share
    from by_region
    left join credited_regions
        on by_region.campaign_id = credited_regions.campaign_id and by_region.region = credited_regions.region

),

-- A region had the campaign when its share of credited orders is at least a quarter of the largest: people who saw it
-- order from elsewhere too.
reached as (

    select
        *,
        coalesce(share > 0 and 4 * share >= max(share) over (partition by campaign_id), false) as is_reached
    from shares

),

sides as (

    select
        campaign_id,
        count(*) filter (where is_reached) as regions_with,
        count(*) filter (where not is_reached) as regions_without,
        sum(during) filter (where is_reached) as with_during,
        sum(before) filter (where is_reached) as with_before,
        sum(revenue) filter (where is_reached) as with_revenue,
        sum(during) filter (where not is_reached) as without_during,
        sum(before) filter (where not is_reached) as without_before
    from reached
    group by campaign_id

),

-- Difference in differences as a ratio: what the regions with the campaign would have had, had they gone as the others.
expected as (

    select
        *,
        with_before * without_during / nullif(cast(without_before as double), 0) as orders_expected,
        sqrt(
            1 / nullif(cast(with_before as double), 0)
            + 1 / nullif(cast(without_during as double), 0)
            + 1 / nullif(cast(without_before as double), 0)
        ) as log_error
    from sides
    where regions_with > 0 and regions_without > 0

),

incremental as (

    select
        campaign_id,
        regions_with,
        regions_without,
        with_during - orders_expected as orders,
        1.96 * sqrt(with_during + orders_expected * orders_expected * log_error * log_error) as margin,
        cast(with_revenue as double) / nullif(with_during, 0) as revenue_per_order
    from expected

)

select
    campaigns.campaign_id,

    campaigns.name,
    campaigns.channel,
    campaigns.start_date,
    campaigns.end_date,
    campaigns.budget_amount,

    cast(spent.impressions as bigint) as impressions,
    cast(spent.clicks as bigint) as clicks,
    cast(spent.cost_amount as decimal(18, 4)) as cost_amount,
    spent.clicks / nullif(cast(spent.impressions as double), 0) as click_rate,
    cast(spent.cost_amount / nullif(spent.clicks, 0) as decimal(18, 4)) as cost_per_click,
    coalesce(visited.sessions, 0) as sessions,
    coalesce(visited.visitors, 0) as visitors,

    coalesce(credited.orders, 0) as credited_orders,
    coalesce(credited.customers, 0) as credited_customers,
    coalesce(credited.new_customers, 0) as credited_new_customers,
    cast(coalesce(credited.revenue, 0) as decimal(18, 4)) as credited_revenue,
    cast(credited.net_profit as decimal(18, 4)) as credited_net_profit,
    cast(coalesce(credited.revenue, 0) as double) / nullif(spent.cost_amount, 0) as credited_roas,
    cast(spent.cost_amount / nullif(credited.new_customers, 0) as decimal(18, 4)) as cost_per_new_customer,

    incremental.regions_with,
    incremental.regions_without,
    incremental.orders as incremental_orders,
    incremental.orders - incremental.margin as incremental_orders_low,
    incremental.orders + incremental.margin as incremental_orders_high,
    incremental.orders * incremental.revenue_per_order / nullif(cast(spent.cost_amount as double), 0)
        as incremental_roas,
    cast(spent.cost_amount as double) / nullif(
        case
            when incremental.orders > 0 and credited.orders > 0
                then incremental.orders * cast(credited.net_profit as double) / nullif(credited.orders, 0)
        end, 0
    ) as cost_per_incremental_profit
from campaigns
left join spent on campaigns.campaign_id = spent.campaign_id
left join visited on campaigns.campaign_id = visited.campaign_id
left join credited on campaigns.campaign_id = credited.campaign_id
left join incremental on campaigns.campaign_id = incremental.campaign_id
