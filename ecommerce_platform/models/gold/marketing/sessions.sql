with events as (

    select
        event_id,
        coalesce(visitor_id, session_id) as visitor_id,
        customer_id,
        occurred_at,
        event_type,
        order_id,
        channel,
        campaign_id,
        device
    from silver.web_events

),

identities as (

    select
        customer_id,
        person_id
    from silver.customer_identities

),

-- Half an hour without anything ends a visit, midnight does not; the source's own sessions are not asked.
begun as (

    select
        *,
        case
            when
                lag(occurred_at) over (partition by visitor_id order by occurred_at, event_id)
                >= occurred_at - interval 30 minute
                then 0
            else 1
        end as is_first
    from events

),

numbered as (

    select
        *,
        sum(is_first) over (
            partition by visitor_id order by occurred_at, event_id rows unbounded preceding
        ) as number
    from begun

),

-- How far a visit came, each step after the one before: a cart without a product seen in the same visit is no step.
viewed as (

    select
        visitor_id,
        number,
        min(occurred_at) as viewed_at
    from numbered
    where event_type = 'product_view'
    group by visitor_id, number

),

carted as (

    select
        numbered.visitor_id,
        numbered.number,
        min(numbered.occurred_at) as carted_at
    from numbered
    inner join viewed on numbered.visitor_id = viewed.visitor_id and numbered.number = viewed.number
    where numbered.event_type = 'add_to_cart' and numbered.occurred_at >= viewed.viewed_at
    group by numbered.visitor_id, numbered.number

),

checked_out as (

    select
        numbered.visitor_id,
        numbered.number,
        min(numbered.occurred_at) as checkout_at
    from numbered
    inner join carted on numbered.visitor_id = carted.visitor_id and numbered.number = carted.number
    where numbered.event_type = 'checkout' and numbered.occurred_at >= carted.carted_at
    group by numbered.visitor_id, numbered.number

),

purchased as (

    select
        numbered.visitor_id,
        numbered.number,
        min(numbered.occurred_at) as purchased_at
    from numbered
    inner join checked_out on numbered.visitor_id = checked_out.visitor_id and numbered.number = checked_out.number
    where numbered.event_type = 'purchase' and numbered.occurred_at >= checked_out.checkout_at
    group by numbered.visitor_id, numbered.number

),

visits as (

    select
        numbered.visitor_id,
        numbered.number,
        max(case when numbered.is_first = 1 then numbered.event_id end) as session_id,
        max(case when numbered.is_first = 1 then numbered.channel end) as channel,
        max(case when numbered.is_first = 1 then numbered.campaign_id end) as campaign_id,
        max(case when numbered.is_first = 1 then numbered.device end) as device,
        max(coalesce(identities.person_id, numbered.customer_id)) as person_id,
        min(numbered.occurred_at) as started_at,
        max(numbered.occurred_at) as ended_at,
        count(*) as events,
        count(*) filter (where numbered.event_type = 'product_view') as product_views,
        count(*) filter (where numbered.event_type = 'add_to_cart') as adds_to_cart,
        count(distinct case when numbered.event_type = 'purchase' then numbered.order_id end) as orders
    from numbered
    left join identities on numbered.customer_id = identities.customer_id
    group by numbered.visitor_id, numbered.number

)

select
    visits.session_id,

    visits.visitor_id,
    visits.person_id,
    cast(visits.started_at as date) as session_date,
    visits.started_at,
    visits.ended_at,
    visits.channel,
    visits.campaign_id,
    visits.device,

    visits.events,
    visits.product_views,
    visits.adds_to_cart,
    visits.orders,
    viewed.viewed_at is not null as has_viewed,
    carted.carted_at is not null as has_carted,
    checked_out.checkout_at is not null as has_checked_out,
    purchased.purchased_at is not null as has_purchased
from visits
left join viewed on visits.visitor_id = viewed.visitor_id and visits.number = viewed.number
left join carted on visits.visitor_id = carted.visitor_id and visits.number = carted.number
left join checked_out on visits.visitor_id = checked_out.visitor_id and visits.number = checked_out.number
left join purchased on visits.visitor_id = purchased.visitor_id and visits.number = purchased.number
