with visits as (

    select
        session_date,
        visitor_id,
        has_viewed,
        has_carted,
        has_checked_out,
        has_purchased
    from gold.sessions

)

select
    session_date,

    count(*) as sessions,
    count(*) filter (where has_viewed) as sessions_viewed,
    count(*) filter (where has_carted) as sessions_carted,
    count(*) filter (where has_checked_out) as sessions_checked_out,
    count(*) filter (where has_purchased) as sessions_purchased,

    count(distinct visitor_id) as visitors,
    count(distinct case when has_viewed then visitor_id end) as visitors_viewed,
    count(distinct case when has_carted then visitor_id end) as visitors_carted,
    count(distinct case when has_checked_out then visitor_id end) as visitors_checked_out,
    count(distinct case when has_purchased then visitor_id end) as visitors_purchased,

    count(*) filter (where has_viewed) / nullif(count(*), 0) as view_rate,
    count(*) filter (where has_carted) / nullif(count(*) filter (where has_viewed), 0) as cart_rate,
    count(*) filter (where has_checked_out) / nullif(count(*) filter (where has_carted), 0) as checkout_rate,
    count(*) filter (where has_purchased) / nullif(count(*) filter (where has_checked_out), 0) as purchase_rate,
    count(*) filter (where has_purchased) / nullif(count(*), 0) as conversion_rate
from visits
group by session_date
