with returns as (

    select
        return_id,
        order_id,
        line_number,
        quantity,
        refund_amount,
        currency,
        reason,
        returned_at
    from silver.returns

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
        returns.*,
        orders.person_id,
        orders.order_date,
        coalesce(returns.currency, orders.currency, shop.currency) as refund_currency,
        coalesce(returns.currency, orders.currency, shop.currency) <> shop.currency as is_foreign,
        coalesce(orders.order_date, cast(returns.returned_at as date)) as rate_date
    from returns
    cross join shop
    left join orders on returns.order_id = orders.order_id
    left join test_orders on returns.order_id = test_orders.order_id
    where test_orders.order_id is null

)

select
    joined.return_id,

    joined.order_id,
    joined.line_number,
    joined.person_id,
    joined.order_date,
    coalesce(cast(joined.returned_at as date), joined.order_date) as return_date,
    joined.returned_at,
    joined.reason,

    joined.quantity,
    case
        when joined.is_foreign then cast(joined.refund_amount * rates.exchange_rate as decimal(18, 4))
        else joined.refund_amount
    end as refund_amount,

    joined.refund_currency as currency,
    cast(case when joined.is_foreign then rates.exchange_rate else 1 end as decimal(20, 10)) as exchange_rate,
    joined.refund_amount as original_refund_amount
from joined
left join rates on joined.refund_currency = rates.currency and joined.rate_date = rates.calendar_date
