-- The days as of which persons are described. ml/features.py puts other days here: nothing else depends on today.
with cut_offs as (

    select cast(max(ordered_at) as date) as as_of_date
    from silver.orders
    where ordered_at is not null and not coalesce(is_test, false)
    having count(*) > 0
    union
    select cast(cast(max(orders.ordered_at) as date) - max(shop.churn_window_days) as date) as as_of_date
    from silver.orders as orders
    cross join silver.shop as shop
    where not coalesce(orders.is_test, false)
    having count(*) > 0

),

identities as (

    select
        customer_id,
        person_id
    from silver.customer_identities

),

orders as (

    select
        order_id,
        person_id,
        order_date,
        is_counted
    from gold.fct_orders
    where person_id is not null

),

placed as (

    select
        cut_offs.as_of_date,
        orders.customer_id,
        orders.person_id,
        orders.order_date,
        orders.ordered_at,
        orders.is_counted,
        orders.channel,
        orders.campaign_id,
        orders.units,
        orders.gross_amount,
        orders.discount_amount,
        orders.revenue_amount,
        date_diff('day', orders.order_date, cut_offs.as_of_date) as days_ago,
        -- What has not arrived by then has no delivery yet, whatever became of it.
        case when cast(orders.delivered_at as date) <= cut_offs.as_of_date then orders.delivery_days end
            as delivery_days,
        case when cast(orders.delivered_at as date) <= cut_offs.as_of_date then orders.days_late end as days_late,
        date_diff('day', cast(date_trunc('week', orders.order_date) as date), orders.order_date) >= 5 as is_weekend
    from gold.fct_orders as orders
    inner join cut_offs on orders.order_date <= cut_offs.as_of_date
    where orders.person_id is not null

),

bought as (

    select
        as_of_date,
        person_id,
        min(order_date) filter (where is_counted) as first_order_date,
        max(order_date) filter (where is_counted) as last_order_date,
        count(*) filter (where is_counted) as orders,
        count(*) filter (where not is_counted) as orders_not_counted,
        sum(case when is_counted then units end) as units,
        sum(case when is_counted then gross_amount end) as gross_amount,
        sum(case when is_counted then discount_amount end) as discount_amount,
        sum(case when is_counted then revenue_amount end) as revenue,
        max(case when is_counted then revenue_amount end) as largest_order_amount,
        count(*) filter (where is_counted and discount_amount > 0) as discounted_orders,
        count(*) filter (where is_counted and campaign_id is not null) as campaign_orders,
        count(*) filter (where is_counted and is_weekend) as weekend_orders,
        count(*) filter (where is_counted and days_ago < 90) as orders_90_days,
        coalesce(sum(case when is_counted and days_ago < 90 then revenue_amount end), 0) as revenue_90_days,
        coalesce(sum(case when is_counted and days_ago between 90 and 179 then revenue_amount end), 0)
            as revenue_90_days_before,
        count(delivery_days) filter (where is_counted) as deliveries,
        sum(case when is_counted then delivery_days end) as delivery_days_total,
        count(days_late) filter (where is_counted) as promised_deliveries,
        count(*) filter (where is_counted and days_late > 0) as late_deliveries,
        max(case when is_counted then days_late end) as most_days_late,
        -- The record of the newest order; of two in the same second the one with the largest id.
        max(struct_pack(ordered_at := ordered_at, customer_id := customer_id)).customer_id as newest_customer_id
    from placed
    group by as_of_date, person_id
    having count(*) filter (where is_counted) > 0

),

customer_days as (

    select distinct
        person_id,
        order_date,
        next_order_date
    from gold.fct_customer_days

),

gaps as (

    select
        cut_offs.as_of_date,
        days.person_id,
        count(*) as gaps,
        sum(date_diff('day', days.order_date, days.next_order_date)) as gap_total,
        sum(
            date_diff('day', days.order_date, days.next_order_date)
            * date_diff('day', days.order_date, days.next_order_date)
        ) as gap_squares,
        max(date_diff('day', days.order_date, days.next_order_date)) as longest_gap_days
    from customer_days as days
    inner join cut_offs on days.next_order_date <= cut_offs.as_of_date
    group by cut_offs.as_of_date, days.person_id

),

channel_counts as (

    select
        as_of_date,
        person_id,
        channel,
        count(*) as orders
    from placed
    where is_counted and channel is not null
    group by as_of_date, person_id, channel

),

channels as (

    select
        as_of_date,
        person_id,
        count(*) as channels,
        min(struct_pack(debit := -orders, channel := channel)).channel as favourite_channel
    from channel_counts
    group by as_of_date, person_id

),

-- The catalogue as it was then; where it begins later, as it was first.
product_days as (

    select
        cut_offs.as_of_date,
        history.product_id,
        coalesce(
            max(case when history.valid_from <= cut_offs.as_of_date then history.valid_from end),
            min(history.valid_from)
        ) as valid_from
    from silver.products_history as history
    cross join cut_offs
    group by cut_offs.as_of_date, history.product_id

),

product_versions as (

    select distinct
        product_days.as_of_date,
        history.product_id,
        coalesce(labels.label, history.category) as category
    from product_days
    inner join silver.products_history as history
        on product_days.product_id = history.product_id and product_days.valid_from = history.valid_from
    left join silver.labels as labels on history.category = labels.code and labels.domain = 'category'

),

product_sales as (

    select
        cut_offs.as_of_date,
        orders.person_id,
        items.product_id,
        sum(items.revenue_amount) as revenue
    from orders
    inner join gold.fct_order_items as items on orders.order_id = items.order_id and items.is_valid
    inner join cut_offs on orders.order_date <= cut_offs.as_of_date
    where orders.is_counted
    group by cut_offs.as_of_date, orders.person_id, items.product_id

),

category_sales as (

    select
        product_sales.as_of_date,
        product_sales.person_id,
        product_versions.category,
        count(*) as products,
        sum(product_sales.revenue) as revenue
    from product_sales
    left join product_versions
        on
            product_sales.product_id = product_versions.product_id
            and product_sales.as_of_date = product_versions.as_of_date
    group by product_sales.as_of_date, product_sales.person_id, product_versions.category

),

categories as (

    select
        as_of_date,
        person_id,
        sum(products) as products,
        count(category) as categories,
        min(struct_pack(debit := -revenue, category := category)) filter (where category is not null).category
            as favourite_category
    from category_sales
    group by as_of_date, person_id

),

returned as (

    select
        cut_offs.as_of_date,
        orders.person_id,
        count(distinct returns.order_id) as returned_orders,
        sum(returns.refund_amount) as refund_amount
    from gold.fct_returns as returns
    inner join orders on returns.order_id = orders.order_id
    inner join cut_offs
        on orders.order_date <= cut_offs.as_of_date and cast(returns.returned_at as date) <= cut_offs.as_of_date
    where orders.is_counted
    group by cut_offs.as_of_date, orders.person_id

),

reviewed as (

    select
        cut_offs.as_of_date,
        orders.person_id,
        count(*) as reviews,
        sum(reviews.score) as score_total,
        min(reviews.score) as lowest_score
    from silver.reviews as reviews
    inner join orders on reviews.order_id = orders.order_id
    inner join cut_offs
        on orders.order_date <= cut_offs.as_of_date and cast(reviews.created_at as date) <= cut_offs.as_of_date
    group by cut_offs.as_of_date, orders.person_id

),

visits as (

    select
        cut_offs.as_of_date,
        identities.person_id,
        count(distinct events.session_id) as sessions,
        count(*) filter (where events.event_type = 'product_view') as product_views,
        count(*) filter (where events.event_type = 'add_to_cart') as adds_to_cart,
        cast(max(events.occurred_at) as date) as last_visit_date
    from silver.web_events as events
    inner join identities on events.customer_id = identities.customer_id
    inner join cut_offs on cast(events.occurred_at as date) <= cut_offs.as_of_date
    group by cut_offs.as_of_date, identities.person_id

),

-- What the shop had begun to record by then: where it has not, a count is not known rather than zero.
recorded as (

    select
        cut_offs.as_of_date,
        first_return.first_date <= cut_offs.as_of_date as has_returns,
        first_review.first_date <= cut_offs.as_of_date as has_reviews,
        first_visit.first_date <= cut_offs.as_of_date as has_visits
    from cut_offs
    cross join (select min(cast(returned_at as date)) as first_date from gold.fct_returns) as first_return
    cross join (select min(cast(created_at as date)) as first_date from silver.reviews) as first_review
    cross join (select min(cast(occurred_at as date)) as first_date from silver.web_events) as first_visit

),

-- The customer record as it was then; where it begins later, as it was first.
version_days as (

    select
        cut_offs.as_of_date,
        history.customer_id,
        coalesce(
            max(case when history.valid_from <= cut_offs.as_of_date then history.valid_from end),
            min(history.valid_from)
        ) as valid_from
    from silver.customers_history as history
    cross join cut_offs
    group by cut_offs.as_of_date, history.customer_id

),

record_versions as (

    select
        version_days.as_of_date,
        history.customer_id,
        identities.person_id,
        history.registered_at,
        history.age_group,
        history.customer_segment,
        history.postal_code,
        history.state,
        history.region,
        history.valid_from > version_days.as_of_date as is_later
    from version_days
    inner join silver.customers_history as history
        on version_days.customer_id = history.customer_id and version_days.valid_from = history.valid_from
    inner join identities on history.customer_id = identities.customer_id

),

registered as (

    select
        as_of_date,
        person_id,
        min(cast(registered_at as date)) as registered_date
    from record_versions
    where cast(registered_at as date) <= as_of_date
    group by as_of_date, person_id

),

described as (

    select
        versions.as_of_date,
        versions.customer_id,
        versions.age_group,
        versions.customer_segment,
        coalesce(
            versions.region,
            case when geography.state = coalesce(states.state, versions.state) then geography.region end,
            states.region,
            geography.region
        ) as region,
        versions.is_later
    from record_versions as versions
    left join gold.dim_geography as geography on versions.postal_code = geography.postal_code
    left join gold.state_spellings as states on versions.state = states.spelling

),

-- What is known beside the orders, one under the other and then gathered by person: seven joins of millions of persons
-- need more memory at once than one grouping, which can go to disk.
parts as (

    select
        as_of_date,
        person_id,
        'registered' as part,
        cast(null as bigint) as number_1,
        cast(null as bigint) as number_2,
        cast(null as bigint) as number_3,
        cast(null as bigint) as number_4,
        cast(null as decimal(18, 4)) as amount,
        cast(null as varchar) as label,
        registered_date as on_date
    from registered
    union all
    select
        as_of_date,
        person_id,
        'gaps' as part,
        cast(gaps as bigint) as number_1,
        cast(gap_total as bigint) as number_2,
        cast(gap_squares as bigint) as number_3,
        cast(longest_gap_days as bigint) as number_4,
        null as amount,
        null as label,
        null as on_date
    from gaps
    union all
    select
        as_of_date,
        person_id,
        'channels' as part,
        cast(channels as bigint) as number_1,
        null as number_2,
        null as number_3,
        null as number_4,
        null as amount,
        favourite_channel as label,
        null as on_date
    from channels
    union all
    select
        as_of_date,
        person_id,
        'categories' as part,
        cast(products as bigint) as number_1,
        cast(categories as bigint) as number_2,
        null as number_3,
        null as number_4,
        null as amount,
        favourite_category as label,
        null as on_date
    from categories
    union all
    select
        as_of_date,
        person_id,
        'returned' as part,
        cast(returned_orders as bigint) as number_1,
        null as number_2,
        null as number_3,
        null as number_4,
        cast(refund_amount as decimal(18, 4)) as amount,
        null as label,
        null as on_date
    from returned
    union all
    select
        as_of_date,
        person_id,
        'reviewed' as part,
        cast(reviews as bigint) as number_1,
        cast(score_total as bigint) as number_2,
        cast(lowest_score as bigint) as number_3,
        null as number_4,
        null as amount,
        null as label,
        null as on_date
    from reviewed
    union all
    select
        as_of_date,
        person_id,
        'visits' as part,
        cast(sessions as bigint) as number_1,
        cast(product_views as bigint) as number_2,
        cast(adds_to_cart as bigint) as number_3,
        null as number_4,
        null as amount,
        null as label,
        last_visit_date as on_date
    from visits

),

known as (

    select
        as_of_date,
        person_id,
        max(case when part = 'registered' then on_date end) as registered_date,
        max(case when part = 'gaps' then number_1 end) as gaps,
        max(case when part = 'gaps' then number_2 end) as gap_total,
        max(case when part = 'gaps' then number_3 end) as gap_squares,
        max(case when part = 'gaps' then number_4 end) as longest_gap_days,
        max(case when part = 'channels' then number_1 end) as channels,
        max(case when part = 'channels' then label end) as favourite_channel,
        max(case when part = 'categories' then number_1 end) as products,
        max(case when part = 'categories' then number_2 end) as categories,
        max(case when part = 'categories' then label end) as favourite_category,
        max(case when part = 'returned' then number_1 end) as returned_orders,
        max(case when part = 'returned' then amount end) as refund_amount,
        max(case when part = 'reviewed' then number_1 end) as reviews,
        max(case when part = 'reviewed' then number_2 end) as score_total,
        max(case when part = 'reviewed' then number_3 end) as lowest_score,
        max(case when part = 'visits' then number_1 end) as sessions,
        max(case when part = 'visits' then number_2 end) as product_views,
        max(case when part = 'visits' then number_3 end) as adds_to_cart,
        max(case when part = 'visits' then on_date end) as last_visit_date
    from parts
    group by as_of_date, person_id

)

select
    bought.as_of_date,
    bought.person_id,

    described.age_group,
    described.customer_segment,
    described.region,
    coalesce(described.is_later, false) as is_described_later,

    known.registered_date,
    case
        when known.registered_date <= bought.first_order_date
            then date_diff('day', known.registered_date, bought.first_order_date)
    end as registration_to_first_order_days,
    bought.first_order_date,
    bought.last_order_date,
    date_diff('day', bought.first_order_date, bought.as_of_date) as age_days,
    date_diff('day', bought.first_order_date, bought.last_order_date) as lifespan_days,
    date_diff('day', bought.last_order_date, bought.as_of_date) as recency_days,

    coalesce(known.gaps, 0) + 1 as purchase_days,
    bought.orders,
    bought.orders_not_counted,
    cast(bought.units as bigint) as units,
    cast(bought.gross_amount as decimal(18, 4)) as gross_amount,
    cast(bought.discount_amount as decimal(18, 4)) as discount_amount,
    cast(bought.revenue as decimal(18, 4)) as revenue,
    cast(bought.revenue / nullif(bought.orders, 0) as decimal(18, 4)) as aov,
    bought.largest_order_amount,
    bought.orders_90_days,
    cast(bought.revenue_90_days as decimal(18, 4)) as revenue_90_days,
    cast(bought.revenue_90_days_before as decimal(18, 4)) as revenue_90_days_before,

    known.gap_total / nullif(known.gaps, 0) as avg_gap_days,
    case
        when known.gaps > 1
            then
                sqrt(
                    (known.gap_squares * known.gaps - known.gap_total * known.gap_total)
                    / nullif(cast(known.gaps * (known.gaps - 1) as double), 0)
                )
    end as gap_deviation_days,
    known.longest_gap_days,

    cast(bought.discount_amount as double) / nullif(bought.gross_amount, 0) as discount_share,
    bought.discounted_orders / nullif(bought.orders, 0) as discounted_order_share,
    bought.campaign_orders / nullif(bought.orders, 0) as campaign_order_share,
    bought.weekend_orders / nullif(bought.orders, 0) as weekend_order_share,
    coalesce(known.channels, 0) as channels,
    known.favourite_channel,
    coalesce(known.categories, 0) as categories,
    known.favourite_category,
    coalesce(known.products, 0) as products,

    bought.deliveries,
    bought.delivery_days_total / nullif(bought.deliveries, 0) as avg_delivery_days,
    case when bought.promised_deliveries > 0 then bought.late_deliveries end as late_deliveries,
    bought.late_deliveries / nullif(bought.promised_deliveries, 0) as late_delivery_share,
    bought.most_days_late,

    case when recorded.has_returns then coalesce(known.returned_orders, 0) end as returned_orders,
    case when recorded.has_returns then coalesce(known.returned_orders, 0) / nullif(bought.orders, 0) end
        as returned_order_share,
    cast(case when recorded.has_returns then coalesce(known.refund_amount, 0) end as decimal(18, 4))
        as refund_amount,
    case when recorded.has_reviews then coalesce(known.reviews, 0) end as reviews,
    known.score_total / nullif(known.reviews, 0) as avg_review_score,
    cast(known.lowest_score as integer) as lowest_review_score,

    case when recorded.has_visits then coalesce(known.sessions, 0) end as sessions,
    case when recorded.has_visits then coalesce(known.product_views, 0) end as product_views,
    case when recorded.has_visits then coalesce(known.adds_to_cart, 0) end as adds_to_cart,
    date_diff('day', known.last_visit_date, bought.as_of_date) as days_since_visit
from bought
inner join recorded on bought.as_of_date = recorded.as_of_date
left join described
    on bought.as_of_date = described.as_of_date and bought.newest_customer_id = described.customer_id
left join known on bought.as_of_date = known.as_of_date and bought.person_id = known.person_id
