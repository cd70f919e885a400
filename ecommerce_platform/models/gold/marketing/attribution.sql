with recursive orders as (

    select
        order_id,
        ordered_at,
        revenue_amount
    from gold.fct_orders
    where is_counted

),

-- An order's measured visit is the first that names it.
purchases as (

    select
        events.order_id,
        min(
            struct_pack(
                occurred_at := events.occurred_at,
                event_id := events.event_id,
                visitor_id := coalesce(events.visitor_id, events.session_id)
            )
        ) as purchase
    from silver.web_events as events
    inner join orders on events.order_id = orders.order_id
    where events.event_type = 'purchase'
    group by events.order_id

),

measured as (

    select
        orders.order_id,
        orders.revenue_amount,
        purchases.purchase.visitor_id as buyer_id,
        purchases.purchase.occurred_at as purchased_at
    from orders
    inner join purchases on orders.order_id = purchases.order_id

),

visits as (

    select distinct
        session_id,
        visitor_id,
        started_at,
        coalesce(channel, 'unknown') as channel
    from gold.sessions

),

-- The visits of the visitor in the 30 days up to the purchase, the one of the purchase among them.
touches as (

    select
        measured.order_id,
        measured.revenue_amount,
        visits.channel,
        visits.session_id,
        row_number() over (
            partition by measured.order_id order by visits.started_at, visits.session_id
        ) as place,
        count(*) over (partition by measured.order_id) as places,
        -- Half as much a week earlier; by whole days, so that it does not hang on seconds.
        power(
            cast(0.5 as double),
            date_diff('day', cast(visits.started_at as date), cast(measured.purchased_at as date)) / cast(7 as double)
        ) as weight
    from measured
    inner join visits on measured.buyer_id = visits.visitor_id
    where
        visits.started_at <= measured.purchased_at
        and visits.started_at > measured.purchased_at - interval 30 day

),

rules as (

    select rule
    from (values ('first'), ('last'), ('linear'), ('position'), ('time_decay')) as r (rule)

),

weighed as (

    select
        rules.rule,
        touches.order_id,
        touches.revenue_amount,
        touches.channel,
        touches.place,
        touches.places,
        cast(
            case rules.rule
                when 'first' then case when touches.place = 1 then 1 else 0 end
                when 'last' then case when touches.place = touches.places then 1 else 0 end
                when 'linear' then 1
                when 'position'
                    then
                        case
                            when touches.places <= 2 then 1
                            when touches.place = 1 or touches.place = touches.places then 0.4
                            else 0.2 / nullif(cast(touches.places - 2 as double), 0)
                        end
                else touches.weight
            end as decimal(18, 12)
        ) as weight
    from touches
    cross join rules

),

shared as (

    select
        *,
        cast(weight as double)
        / nullif(cast(sum(weight) over (partition by rule, order_id) as double), 0) as share
    from weighed

),

rounded as (

    select
        rule,
        order_id,
        revenue_amount,
        channel,
        place,
        places,
        cast(share as decimal(18, 8)) as orders,
        cast(revenue_amount * share as decimal(18, 4)) as revenue
    from shared

),

-- What rounding leaves goes to the last visit, so that every order is given away whole.
settled as (

    select
        rule,
        channel,
        case
            when place = places then orders + 1 - sum(orders) over (partition by rule, order_id)
            else orders
        end as orders,
        case
            when place = places
                then revenue + revenue_amount - sum(revenue) over (partition by rule, order_id)
            else revenue
        end as revenue
    from rounded

),

-- The Markov rule: visits are states, and a channel is worth the share of orders that would be lost were it removed
-- (Anderl, Becker, von Wangenheim and Schumann 2016, first order). Visits that led to no order are paths, too: a
-- visitor's until 30 days pass between two.
elsewhere as (

    select
        visits.session_id,
        visits.visitor_id,
        visits.started_at,
        visits.channel
    from visits
    left join touches on visits.session_id = touches.session_id
    where touches.session_id is null

),

begun as (

    select
        *,
        case
            when
                lag(started_at) over (partition by visitor_id order by started_at, session_id)
                >= started_at - interval 30 day
                then 0
            else 1
        end as is_first
    from elsewhere

),

lost as (

    select
        *,
        sum(is_first) over (partition by visitor_id order by started_at, session_id rows unbounded preceding) as number
    from begun

),

steps as (

    select
        coalesce(lag(channel) over (partition by order_id order by place), '(start)') as from_state,
        channel as to_state
    from touches
    union all
    select
        channel as from_state,
        '(order)' as to_state
    from touches
    where place = places
    union all
    select
        coalesce(
            lag(channel) over (partition by visitor_id, number order by started_at, session_id), '(start)'
        ) as from_state,
        channel as to_state
    from lost
    union all
    select
        channel as from_state,
        '(nothing)' as to_state
    from lost
    qualify row_number() over (partition by visitor_id, number order by started_at desc, session_id desc) = 1

),

moves as (

    select
        from_state,
        to_state,
        cast(
            count(*) / nullif(cast(sum(count(*)) over (partition by from_state) as double), 0) as decimal(18, 15)
        ) as chance
    from steps
    group by from_state, to_state

),

-- An order that was reached stays so.
onward as materialized (

    select
        from_state,
        to_state,
        chance
    from moves
    union all
    select
        '(order)' as from_state,
        '(order)' as to_state,
        cast(1 as decimal(18, 15)) as chance

),

removals as (

    select distinct channel as removed
    from touches
    union all
    select '' as removed

),

-- How likely an order is reached from each state within so many steps; what a removed channel would have led to is
-- lost. A path that is not at its end after 100 steps counts as lost, of which there are next to none.
reached as (

    select
        0 as step,
        removed,
        '(order)' as state,
        cast(1 as decimal(18, 15)) as chance
    from removals
    union all
    select
        reached.step + 1 as step,
        reached.removed,
        onward.from_state as state,
        cast(sum(cast(onward.chance * reached.chance as decimal(30, 15))) as decimal(18, 15)) as chance
    from reached
    inner join onward on reached.state = onward.to_state and reached.removed <> onward.to_state
    where reached.step < 100
    group by reached.step, reached.removed, onward.from_state

),

chances as (

    select
        removals.removed,
        cast(coalesce(max(reached.chance), 0) as double) as chance
    from removals
    left join reached
        on removals.removed = reached.removed and reached.step = 100 and reached.state = '(start)'
    group by removals.removed

),

effects as (

    select
        removed.removed as channel,
        greatest(cast(1 - removed.chance / nullif(whole.chance, 0) as decimal(18, 12)), 0) as effect
    from chances as removed
    inner join chances as whole on whole.removed = ''
    where removed.removed <> ''

),

given as (

    select
        count(*) as orders,
        sum(revenue_amount) as revenue
    from touches
    where place = places

),

markov as (

    select
        effects.channel,
        effects.effect,
        given.orders as all_orders,
        given.revenue as all_revenue,
        cast(
            given.orders * effects.effect / nullif(cast(sum(effects.effect) over () as double), 0) as decimal(18, 8)
        ) as orders,
        cast(
            given.revenue * effects.effect / nullif(cast(sum(effects.effect) over () as double), 0) as decimal(18, 4)
        ) as revenue
    from effects
    cross join given

),

-- What rounding leaves goes to the channel that is worth most.
markov_settled as (

    select
        channel,
        case
            when row_number() over (order by effect desc, channel asc) = 1
                then orders + all_orders - sum(orders) over ()
            else orders
        end as orders,
        case
            when row_number() over (order by effect desc, channel asc) = 1
                then revenue + all_revenue - sum(revenue) over ()
            else revenue
        end as revenue
    from markov

),

credited as (

    select
        rule,
        channel,
        sum(orders) as orders,
        sum(revenue) as revenue
    from settled
    group by rule, channel
    union all
    select
        'markov' as rule,
        channel,
        orders,
        revenue
    from markov_settled
    union all
    select
        rules.rule,
        'not measured' as channel,
        count(orders.order_id) as orders,
        coalesce(sum(orders.revenue_amount), 0) as revenue
    from (
        select rule from rules
        union all
        select 'markov' as rule
    ) as rules
    cross join orders
    left join measured on orders.order_id = measured.order_id
    where measured.order_id is null
    group by rules.rule

)

select
    rule,
    channel,

    channel <> 'not measured' as is_measured,
    cast(orders as decimal(18, 8)) as orders,
    cast(revenue as decimal(18, 4)) as revenue,
    case
        when channel <> 'not measured'
            then
                cast(revenue as double)
                / nullif(sum(case when channel <> 'not measured' then revenue end) over (partition by rule), 0)
    end as revenue_share
from credited
