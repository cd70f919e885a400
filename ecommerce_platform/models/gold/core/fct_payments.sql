with payments as (

    select
        order_id,
        payment_number,
        method,
        installments,
        amount,
        currency,
        paid_at
    from silver.payments

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

methods as (

    select
        code,
        label
    from silver.labels
    where domain = 'payment_method'

),

orders as (

    select
        order_id,
        customer_id,
        person_id,
        order_date,
        is_valid,
        currency
    from gold.fct_orders

),

joined as (

    select
        payments.order_id,
        payments.payment_number,
        orders.customer_id,
        orders.person_id,
        orders.order_date,
        orders.is_valid,
        coalesce(methods.label, payments.method) as payment_method,
        payments.method as payment_method_code,
        payments.installments,
        payments.amount,
        payments.paid_at,
        coalesce(payments.currency, orders.currency, shop.currency) as currency,
        coalesce(payments.currency, orders.currency, shop.currency) <> shop.currency as is_foreign,
        coalesce(orders.order_date, cast(payments.paid_at as date)) as rate_date
    from payments
    cross join shop
    left join methods on payments.method = methods.code
    left join orders on payments.order_id = orders.order_id
    left join test_orders on payments.order_id = test_orders.order_id
    where test_orders.order_id is null

)

select
    joined.order_id,
    joined.payment_number,

    joined.customer_id,
    joined.person_id,
    joined.order_date,
    joined.is_valid,
    joined.payment_method,
    joined.payment_method_code,

    joined.installments,
    case when joined.is_foreign then cast(joined.amount * rates.exchange_rate as decimal(18, 4)) else joined.amount end
        as amount,
    joined.paid_at,

    joined.currency,
    cast(case when joined.is_foreign then rates.exchange_rate else 1 end as decimal(20, 10)) as exchange_rate,
    joined.amount as original_amount
from joined
left join rates on joined.currency = rates.currency and joined.rate_date = rates.calendar_date
