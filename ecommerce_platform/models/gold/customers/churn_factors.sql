-- Described as of the earlier of the two days; what became of them is looked up in the days after it alone.
with cut_off as (

    select min(as_of_date) as as_of_date
    from gold.customer_features_as_of

),

shop as (

    select churn_window_days
    from silver.shop

),

-- Customers of the window before the day. How long ago they bought is no factor: the label is made of the same thing.
customers as (

    select features.*
    from gold.customer_features_as_of as features
    inner join cut_off on features.as_of_date = cut_off.as_of_date
    cross join shop
    where features.last_order_date > cut_off.as_of_date - shop.churn_window_days

),

returned_buyers as (

    select distinct days.person_id
    from gold.fct_customer_days as days
    cross join cut_off
    cross join shop
    where
        days.order_date > cut_off.as_of_date
        and days.order_date <= cut_off.as_of_date + shop.churn_window_days

),

labelled as (

    select
        customers.*,
        case when returned_buyers.person_id is null then 1 else 0 end as is_lost
    from customers
    left join returned_buyers on customers.person_id = returned_buyers.person_id

),

-- Each factor with its threshold: shares, not whether anything ever happened, which happens to those who order most.
-- From the threshold on a customer has the factor; without one it is the customers' median, which fits any currency.
factors as (

    select
        factor,
        threshold
    from (
        values
        ('orders', 2), ('age_days', null), ('avg_gap_days', null), ('revenue', null), ('categories', 2),
        ('channels', 2),
        ('discounted_order_share', 0.5), ('campaign_order_share', 0.5), ('weekend_order_share', 0.5),
        ('late_delivery_share', 0.5), ('avg_delivery_days', null), ('returned_order_share', 0.5),
        ('avg_review_score', 4), ('sessions', 1)
    ) as f (factor, threshold)

),

valued as (

    select
        factors.factor,
        factors.threshold,
        labelled.is_lost,
        cast(
            case factors.factor
                when 'orders' then labelled.orders
                when 'age_days' then labelled.age_days
                when 'avg_gap_days' then labelled.avg_gap_days
                when 'revenue' then labelled.revenue
                when 'categories' then labelled.categories
                when 'channels' then labelled.channels
                when 'discounted_order_share' then labelled.discounted_order_share
                when 'campaign_order_share' then labelled.campaign_order_share
                when 'weekend_order_share' then labelled.weekend_order_share
                when 'late_delivery_share' then labelled.late_delivery_share
                when 'avg_delivery_days' then labelled.avg_delivery_days
                when 'returned_order_share' then labelled.returned_order_share
                when 'avg_review_score' then labelled.avg_review_score
                when 'sessions' then labelled.sessions
            end as decimal(19, 4)
        ) as value
    from labelled
    cross join factors

),

medians as (

    select
        factor,
        median(cast(value as double)) as middle
    from valued
    group by factor

),

measured as (

    select
        valued.factor,
        coalesce(valued.threshold, medians.middle) as threshold,
        valued.is_lost,
        valued.value
    from valued
    inner join medians on valued.factor = medians.factor

),

-- Sums of decimals: whatever order rows come in, they are the same.
counted as (

    select
        factor,
        threshold,
        count(*) as customers,
        count(value) as customers_known,
        count(*) filter (where value >= threshold) as customers_with,
        count(*) filter (where value >= threshold and is_lost = 1) as lost_with,
        count(*) filter (where value < threshold) as customers_without,
        count(*) filter (where value < threshold and is_lost = 1) as lost_without,
        count(value) filter (where is_lost = 1) as lost,
        count(value) filter (where is_lost = 0) as kept,
        cast(sum(value) filter (where is_lost = 1) as double) as sum_lost,
        cast(sum(value) filter (where is_lost = 0) as double) as sum_kept,
        cast(sum(value * value) filter (where is_lost = 1) as double) as squares_lost,
        cast(sum(value * value) filter (where is_lost = 0) as double) as squares_kept
    from measured
    group by factor, threshold

),

rates as (

    select
        *,
        lost_with / nullif(customers_with, 0) as churn_with,
        lost_without / nullif(customers_without, 0) as churn_without,
        sum_lost / nullif(lost, 0) as mean_lost,
        sum_kept / nullif(kept, 0) as mean_kept,
        sqrt(
            greatest(
                (
                    squares_lost - sum_lost * sum_lost / nullif(lost, 0)
                    + squares_kept - sum_kept * sum_kept / nullif(kept, 0)
                ) / nullif(lost + kept - 2, 0),
                0
            )
        ) as deviation
    from counted

),

compared as (

    select
        *,
        churn_with / nullif(churn_without, 0) as lift,
        -- Of the logarithm of a ratio of two shares; where nobody, or everybody, left there is none.
        case
            when lost_with > 0 and lost_without > 0
                then
                    sqrt(
                        (1 - churn_with) / nullif(cast(lost_with as double), 0)
                        + (1 - churn_without) / nullif(cast(lost_without as double), 0)
                    )
        end as log_lift_error,
        (mean_lost - mean_kept) / nullif(deviation, 0) as difference,
        -- 2.914 deviations: 95 % for all fourteen factors together (Bonferroni).
        2.914 as deviations
    from rates

),

bounded as (

    select
        *,
        exp(ln(nullif(lift, 0)) - deviations * log_lift_error) as lift_low,
        exp(ln(nullif(lift, 0)) + deviations * log_lift_error) as lift_high,
        deviations * sqrt(
            (lost + kept) / nullif(cast(lost * kept as double), 0)
            + difference * difference / nullif(2 * cast(lost + kept as double), 0)
        ) as margin
    from compared

)

select
    bounded.factor,
    cut_off.as_of_date,
    cast(bounded.threshold as double) as threshold,

    bounded.customers,
    bounded.customers_known,
    bounded.customers_with,
    bounded.churn_with as churn_rate_with,
    bounded.churn_without as churn_rate_without,

    bounded.lift,
    bounded.lift_low,
    bounded.lift_high,

    bounded.mean_lost,
    bounded.mean_kept,
    bounded.difference as standardised_difference,
    bounded.difference - bounded.margin as standardised_difference_low,
    bounded.difference + bounded.margin as standardised_difference_high,

    coalesce(bounded.lift_low > 1 or bounded.lift_high < 1, false) as is_lift_sure,
    coalesce(abs(bounded.difference) > bounded.margin, false) as is_difference_sure
from bounded
cross join cut_off
