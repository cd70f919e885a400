with orders as (

    select
        discount_code,
        person_id,
        order_date,
        units,
        gross_amount,
        discount_amount,
        revenue_amount,
        profit_amount,
        valid_lines,
        cost_known_lines
    from gold.fct_orders
    where is_counted and discount_code is not null

),

-- The days on which each person bought anything, with or without a code.
persons as (

    select
        person_id,
        min(order_date) as first_order_date,
        max(order_date) as last_order_date
    from gold.fct_customer_days
    group by person_id

),

uses as (

    select
        discount_code,
        person_id,
        min(order_date) as first_used_date
    from orders
    where person_id is not null
    group by discount_code, person_id

),

customers as (

    select
        uses.discount_code,
        count(*) as customers,
        count(*) filter (where persons.first_order_date = uses.first_used_date) as new_customers,
        count(*) filter (where persons.last_order_date > uses.first_used_date) as returning_customers
    from uses
    inner join persons on uses.person_id = persons.person_id
    group by uses.discount_code

),

sold as (

    select
        discount_code,
        count(*) as orders,
        sum(units) as units,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(revenue_amount) as revenue,
        sum(profit_amount) as net_profit,
        sum(valid_lines) as valid_lines,
        sum(cost_known_lines) as cost_known_lines,
        min(order_date) as first_used_date,
        max(order_date) as last_used_date
    from orders
    group by discount_code

)

select
    sold.discount_code,

    sold.orders,
    coalesce(customers.customers, 0) as customers,
    coalesce(customers.new_customers, 0) as new_customers,
    customers.new_customers / nullif(customers.customers, 0) as new_customer_share,
    customers.returning_customers / nullif(customers.customers, 0) as repeat_rate,
    sold.first_used_date,
    sold.last_used_date,

    cast(sold.units as bigint) as units,
    cast(sold.gross_amount as decimal(18, 4)) as gross_amount,
    cast(sold.discount_amount as decimal(18, 4)) as discount_amount,
    cast(sold.revenue as decimal(18, 4)) as revenue,
    cast(sold.net_profit as decimal(18, 4)) as net_profit,
    sold.cost_known_lines / nullif(sold.valid_lines, 0) as cost_known_share,
    cast(sold.discount_amount as double) / nullif(sold.gross_amount, 0) as discount_share
from sold
left join customers on sold.discount_code = customers.discount_code
