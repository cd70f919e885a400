with orders as (

    select
        person_id,
        order_date,
        units,
        revenue_amount
    from gold.fct_orders
    where is_counted and person_id is not null

),

days as (

    select
        person_id,
        order_date,
        count(*) as orders,
        sum(units) as units,
        sum(revenue_amount) as revenue_amount
    from orders
    group by person_id, order_date

)

select
    person_id,
    order_date,

    row_number() over (partition by person_id order by order_date) as day_number,
    lead(order_date) over (partition by person_id order by order_date) as next_order_date,

    orders,
    cast(
        sum(orders) over (partition by person_id order by order_date rows unbounded preceding) as bigint
    ) as orders_to_date,
    cast(units as bigint) as units,
    cast(revenue_amount as decimal(18, 4)) as revenue_amount
from days
