with orders as (

    select
        order_id,
        person_id,
        order_date,
        is_counted,
        channel,
        device,
        payment_method,
        region,
        valid_lines,
        cost_known_lines,
        units,
        gross_amount,
        discount_amount,
        revenue_amount,
        cost_amount,
        profit_amount,
        satisfaction_score,
        delivery_days,
        is_on_time
    from gold.fct_orders

),

customers as (

    select
        person_id,
        region,
        customer_segment,
        age_group
    from gold.dim_customer

),

days as (

    select
        person_id,
        order_date,
        next_order_date,
        orders,
        orders_to_date
    from gold.fct_customer_days

),

reviews as (

    select
        order_id,
        score
    from silver.reviews

),

-- Whole numbers in place of ids: counting distinct ones is what costs, and of numbers it costs a third. They say
-- nothing beyond one state of the table.
persons as (

    select
        person_id,
        row_number() over (order by person_id) as person_number
    from orders
    where person_id is not null
    group by person_id

),

opinions as (

    select
        order_id,
        count(*) as reviews,
        sum(score) as review_score_total,
        count(*) filter (where score = 5) as promoters,
        count(*) filter (where score <= 3) as detractors
    from reviews
    group by order_id

),

-- A person's day stands on the first of its counted orders.
first_of_days as (

    select
        person_id,
        order_date,
        min(order_id) as order_id
    from orders
    where is_counted and person_id is not null
    group by person_id, order_date

),

person_days as (

    select
        first_of_days.order_id,
        days.next_order_date,
        days.orders,
        days.orders_to_date
    from days
    inner join first_of_days
        on days.person_id = first_of_days.person_id and days.order_date = first_of_days.order_date

)

select
    orders.order_date,
    cast(row_number() over (order by orders.order_date, orders.order_id) as integer) as order_number,
    orders.order_id,
    cast(persons.person_number as integer) as person_number,

    coalesce(orders.channel, 'unknown') as channel,
    coalesce(orders.device, 'unknown') as device,
    coalesce(orders.payment_method, 'unknown') as payment_method,
    coalesce(orders.region, 'unknown') as region,
    coalesce(customers.region, 'unknown') as customer_region,
    coalesce(customers.customer_segment, 'unknown') as segment,
    coalesce(customers.age_group, 'unknown') as age_group,

    case when orders.is_counted then 1 else 0 end as orders,
    case when person_days.order_id is null then 0 else 1 end as person_days,
    person_days.next_order_date,
    case when person_days.orders_to_date = person_days.orders then 1 else 0 end as new_customers,
    case
        when person_days.orders_to_date >= 2 and person_days.orders_to_date - person_days.orders < 2 then 1
        else 0
    end as new_repeat_customers,

    cast(orders.valid_lines as integer) as valid_lines,
    cast(orders.cost_known_lines as integer) as cost_known_lines,
    orders.units,
    orders.gross_amount,
    orders.discount_amount,
    orders.revenue_amount as revenue,
    orders.cost_amount,
    orders.profit_amount as net_profit,

    cast(coalesce(opinions.reviews, 0) as integer) as reviews,
    cast(opinions.review_score_total as bigint) as review_score_total,
    cast(coalesce(opinions.promoters, 0) as integer) as promoters,
    cast(coalesce(opinions.detractors, 0) as integer) as detractors,
    case when orders.satisfaction_score is null then 0 else 1 end as rated_orders,
    cast(orders.satisfaction_score as decimal(18, 6)) as satisfaction_total,
    case when orders.delivery_days is null then 0 else 1 end as delivered_orders,
    cast(orders.delivery_days as integer) as delivery_days_total,
    case when orders.is_on_time is null then 0 else 1 end as promised_deliveries,
    case when orders.is_on_time then 1 else 0 end as on_time_deliveries
from orders
left join persons on orders.person_id = persons.person_id
left join customers on orders.person_id = customers.person_id
left join opinions on orders.order_id = opinions.order_id
left join person_days on orders.order_id = person_days.order_id
