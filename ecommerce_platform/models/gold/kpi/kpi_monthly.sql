with shop as (

    select churn_window_days
    from silver.shop

),

days as (

    select
        cast(date_trunc('month', order_date) as date) as month,
        orders,
        new_customers,
        new_repeat_customers,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue,
        cost_amount,
        net_profit,
        refund_amount,
        reviews,
        review_score_total,
        promoters,
        detractors,
        rated_orders,
        satisfaction_total,
        delivered_orders,
        delivery_days_total,
        promised_deliveries,
        on_time_deliveries
    from gold.kpi_daily

),

customer_days as (

    select
        person_id,
        order_date,
        next_order_date
    from gold.fct_customer_days

),

covered as (

    select
        month,
        is_complete
    from gold.month_coverage

),

sums as (

    select
        month,
        sum(orders) as orders,
        sum(new_customers) as new_customers,
        sum(new_repeat_customers) as new_repeat_customers,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue) as revenue,
        sum(cost_amount) as cost_amount,
        sum(net_profit) as net_profit,
        sum(refund_amount) as refund_amount,
        sum(reviews) as reviews,
        sum(review_score_total) as review_score_total,
        sum(promoters) as promoters,
        sum(detractors) as detractors,
        sum(rated_orders) as rated_orders,
        sum(satisfaction_total) as satisfaction_total,
        sum(delivered_orders) as delivered_orders,
        sum(delivery_days_total) as delivery_days_total,
        sum(promised_deliveries) as promised_deliveries,
        sum(on_time_deliveries) as on_time_deliveries
    from days
    group by month

),

-- A person buys on several days of a month: counted on the last of them, the one that no other follows within
-- the month, each is counted once without comparing persons.
spells as (

    select
        order_date,
        next_order_date,
        count(*) as persons
    from customer_days
    group by order_date, next_order_date

),

buyers as (

    select
        cast(date_trunc('month', order_date) as date) as month,
        sum(persons) as customers
    from spells
    where next_order_date is null or date_trunc('month', next_order_date) > date_trunc('month', order_date)
    group by cast(date_trunc('month', order_date) as date)

),

month_ends as (

    select
        sums.month,
        cast(sums.month + interval 1 month - interval 1 day as date) as last_day,
        shop.churn_window_days
    from sums
    cross join shop

),

-- Of the persons whose last purchase day up to E − N lies in (E − 2N, E − N], those whose next one is not in
-- (E − N, E] have left. (E: the month's last day, N: the window.) A purchase day counts for its person when no
-- other follows up to E − N, so nobody is counted twice.
churn as (

    select
        month_ends.month,
        sum(spells.persons) as customers_before,
        sum(spells.persons) filter (
            where spells.next_order_date is null or spells.next_order_date > month_ends.last_day
        ) as customers_lost
    from month_ends
    inner join spells
        on
            spells.order_date > month_ends.last_day - 2 * month_ends.churn_window_days
            and spells.order_date <= month_ends.last_day - month_ends.churn_window_days
    where
        spells.next_order_date is null
        or spells.next_order_date > month_ends.last_day - month_ends.churn_window_days
    group by month_ends.month

),

joined as (

    select
        sums.*,
        coalesce(buyers.customers, 0) as customers,
        churn.customers_before,
        coalesce(churn.customers_lost, 0) as customers_lost,
        -- A month may have returns only.
        coalesce(covered.is_complete, false) as is_complete,
        case
            when year_before.revenue > 0 and covered.is_complete and covered_year_before.is_complete
                then year_before.revenue
        end as revenue_year_before
    from sums
    left join buyers on sums.month = buyers.month
    left join churn on sums.month = churn.month
    left join covered on sums.month = covered.month
    left join sums as year_before on sums.month = cast(year_before.month + interval 12 month as date)
    left join covered as covered_year_before on year_before.month = covered_year_before.month

),

compared as (

    select
        *,
        case
            when
                cast(lag(month) over (order by month) + interval 1 month as date) = month
                and is_complete
                and lag(is_complete) over (order by month)
                then lag(revenue) over (order by month)
        end as previous_revenue,
        sum(revenue) over (order by month rows unbounded preceding) as revenue_to_date,
        sum(net_profit) over (order by month rows unbounded preceding) as net_profit_to_date,
        sum(new_customers) over (order by month rows unbounded preceding) as customers_to_date,
        sum(new_repeat_customers) over (order by month rows unbounded preceding) as repeat_customers_to_date
    from joined

)

select
    month,

    cast(orders as bigint) as orders,
    cast(customers as bigint) as customers,
    cast(new_customers as bigint) as new_customers,
    cast(units as bigint) as units,

    cast(gross_amount as decimal(18, 4)) as gross_amount,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(revenue as decimal(18, 4)) as revenue,
    cast(cost_amount as decimal(18, 4)) as cost_amount,
    cast(net_profit as decimal(18, 4)) as net_profit,
    cast(revenue / nullif(orders, 0) as decimal(18, 4)) as aov,
    -- Growth on a month without revenue or with less than none says nothing, nor does growth from or to a part.
    case when previous_revenue > 0 then cast(revenue as double) / nullif(previous_revenue, 0) - 1 end as revenue_growth,
    repeat_customers_to_date / nullif(customers_to_date, 0) as repeat_purchase_rate,
    customers_lost / nullif(customers_before, 0) as churn_rate,
    cost_known_lines / nullif(valid_lines, 0) as cost_known_share,
    cast(refund_amount as decimal(18, 4)) as refund_amount,

    cast(reviews as bigint) as reviews,
    review_score_total / nullif(reviews, 0) as avg_review_score,
    cast(100 * (promoters - detractors) as double) / nullif(reviews, 0) as nps_proxy,
    satisfaction_total / nullif(rated_orders, 0) as avg_satisfaction_score,
    on_time_deliveries / nullif(promised_deliveries, 0) as on_time_rate,
    delivery_days_total / nullif(delivered_orders, 0) as avg_delivery_days,

    is_complete,
    cast(revenue as double) / nullif(revenue_year_before, 0) - 1 as revenue_growth_yoy,
    cast(revenue_to_date / nullif(customers_to_date, 0) as decimal(18, 4)) as historic_clv,
    cast(net_profit_to_date / nullif(customers_to_date, 0) as decimal(18, 4)) as historic_clv_profit
from compared
