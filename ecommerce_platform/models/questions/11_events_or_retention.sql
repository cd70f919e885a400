-- Is revenue driven by events or by retention?
--
-- First and later orders of customers and orders of nobody in particular are all of the revenue; later ones are
-- what retention brings. Beside them, of the same revenue: what came on days that were above what their past let
-- expect (gold.anomalies) beyond what was expected, and what the source credits to campaigns.
with whole as (

    select sum(revenue_amount) as revenue
    from gold.fct_orders

),

parts as (

    select
        1 as place,
        'first orders of customers' as part,
        sum(revenue_amount) as revenue
    from gold.fct_customer_days
    where day_number = 1
    union all
    select
        2 as place,
        'later orders of customers' as part,
        sum(revenue_amount) as revenue
    from gold.fct_customer_days
    where day_number > 1
    union all
    select
        3 as place,
        'orders of nobody in particular' as part,
        sum(revenue_amount) as revenue
    from gold.fct_orders
    where person_id is null or not is_counted
    union all
    select
        4 as place,
        'of all: beyond what was expected on strange days' as part,
        sum(cast(actual - expected as decimal(18, 4))) as revenue
    from gold.anomalies
    where series = 'revenue' and direction = 'up'
    union all
    select
        5 as place,
        'of all: credited to campaigns' as part,
        sum(revenue_amount) as revenue
    from gold.fct_orders
    where campaign_id is not null

)

select
    parts.part,
    coalesce(parts.revenue, 0) as revenue,
    cast(coalesce(parts.revenue, 0) as double) / nullif(whole.revenue, 0) as revenue_share
from parts
cross join whole
order by parts.place
