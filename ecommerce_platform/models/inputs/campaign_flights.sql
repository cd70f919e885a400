-- What each campaign with a cost did to orders, from the regions that had it and those that had not: orders during it,
-- in the days after it, and on ordinary days around it, when no such campaign ran nor had just ended; those nearest
-- to it apart. With $known, only orders of persons who had ordered before that day count.
with spent as (

    select
        campaign_id,
        sum(cost_amount)::double as cost
    from silver.ad_spend
    group by campaign_id

),

flights as (

    select
        c.campaign_id,
        c.channel,
        c.start_date,
        c.end_date,
        s.cost
    from silver.campaigns as c inner join spent as s on c.campaign_id = s.campaign_id
    where c.channel is not null and c.start_date <= c.end_date and s.cost > 0

),

orders as (

    select
        order_date as day,
        region,
        campaign_id,
        coalesce(profit_amount, 0)::double as profit,
        person_id is not null and order_date > min(order_date) over (partition by person_id) as is_known
    from gold.fct_orders
    where is_counted and region is not null and order_date is not null

),

days as (

    select
        day,
        region,
        count(*) filter (where is_known or not $known) as orders
    from orders
    group by day, region

),

ordinary as (

    select d.day
    from (select distinct day from days) as d
    where
        not exists (
            select 1 from flights as f
            where d.day between f.start_date and f.end_date + cast($after as integer)
        )

),

known as (

    select
        min(day) as first_day,
        max(day) as last_day
    from days

),

whole as (

    select f.* from flights as f cross join known as k
    where f.start_date >= k.first_day and f.end_date + cast($after as integer) <= k.last_day

),

sums as (

    select
        w.campaign_id,
        d.region,
        sum(d.orders) filter (where d.day between w.start_date and w.end_date) as during,
        sum(d.orders) filter (where d.day > w.end_date and d.day <= w.end_date + cast($after as integer)) as later,
        sum(d.orders) filter (where o.day is not null) as ordinarily,
        sum(d.orders) filter (
            where o.day between w.start_date - cast($closest as integer) and w.end_date + cast($closest as integer)
        ) as nearby
    from whole as w
    inner join days as d
        on d.day between w.start_date - cast($around as integer) and w.end_date + cast($around as integer)
    left join ordinary as o on d.day = o.day
    group by w.campaign_id, d.region

),

neighbours as (

    select
        w.campaign_id,
        count(*) as days
    from whole as w
    inner join ordinary as o
        on o.day between w.start_date - cast($closest as integer) and w.end_date + cast($closest as integer)
    group by w.campaign_id

),

-- A region had the campaign when its share of credited orders is at least a quarter of the largest, as in
-- gold.campaign_performance.
shares as (

    select
        s.*,
        c.share
    from sums as s
    left join (
        select
            w.campaign_id,
            o.region,
            count(*) filter (where o.campaign_id = w.campaign_id) / nullif(count(*)::double, 0) as share
        from orders as o inner join whole as w on o.day between w.start_date and w.end_date
        group by w.campaign_id, o.region
    ) as c on s.campaign_id = c.campaign_id and s.region = c.region

),

reached as (

    select
        *,
        coalesce(share > 0 and 4 * share >= max(share) over (partition by campaign_id), false) as is_reached
    from shares

),

profits as (

    select
        campaign_id,
        avg(profit) as profit
    from orders
    group by campaign_id

)

select
    w.channel,
    w.start_date,
    w.cost,
    sum(r.during) filter (where r.is_reached)::double as with_during,
    sum(r.during) filter (where not r.is_reached)::double as without_during,
    coalesce(sum(r.later) filter (where r.is_reached), 0)::double as with_later,
    coalesce(sum(r.later) filter (where not r.is_reached), 0)::double as without_later,
    sum(r.ordinarily) filter (where r.is_reached)::double as with_ordinarily,
    sum(r.ordinarily) filter (where not r.is_reached)::double as without_ordinarily,
    coalesce(sum(r.nearby) filter (where not r.is_reached), 0)::double as without_nearby,
    coalesce(any_value(n.days), 0)::double as nearby_days,
    date_diff('day', w.start_date, w.end_date)::double + 1 as days,
    cast($after as double) as days_after,
    any_value(p.profit) as profit
from whole as w
inner join reached as r on w.campaign_id = r.campaign_id
left join neighbours as n on w.campaign_id = n.campaign_id
left join profits as p on w.campaign_id = p.campaign_id
group by w.campaign_id, w.channel, w.start_date, w.end_date, w.cost
having min(r.is_reached::integer) = 0 and max(r.is_reached::integer) = 1 and sum(r.ordinarily) > 0
order by w.channel, w.start_date
