with fees as (

    select
        fee_id,
        order_id,
        fee_type,
        amount,
        currency,
        charged_at
    from silver.fees

),

test_orders as (

    select order_id
    from silver.orders
    where is_test

),

shop as (

    select currency
    from silver.shop

),

rates as (

    select
        currency,
        calendar_date,
        exchange_rate
    from gold.daily_rates

),

orders as (

    select
        order_id,
        person_id,
        order_date,
        currency
    from gold.fct_orders

),

joined as (

    select
        fees.*,
        orders.person_id,
        orders.order_date,
        coalesce(fees.currency, orders.currency, shop.currency) as fee_currency,
        coalesce(fees.currency, orders.currency, shop.currency) <> shop.currency as is_foreign,
        coalesce(orders.order_date, cast(fees.charged_at as date)) as rate_date
    from fees
    cross join shop
    left join orders on fees.order_id = orders.order_id
    left join test_orders on fees.order_id = test_orders.order_id
    where test_orders.order_id is null

)

select
    joined.fee_id,

    joined.order_id,
    joined.person_id,
    joined.order_date,
    coalesce(cast(joined.charged_at as date), joined.order_date) as fee_date,
    joined.charged_at,
    joined.fee_type,

    case when joined.is_foreign then cast(joined.amount * rates.exchange_rate as decimal(18, 4)) else joined.amount end
        as amount,

    joined.fee_currency as currency,
    cast(case when joined.is_foreign then rates.exchange_rate else 1 end as decimal(20, 10)) as exchange_rate,
    joined.amount as original_amount
from joined
left join rates on joined.fee_currency = rates.currency and joined.rate_date = rates.calendar_date
