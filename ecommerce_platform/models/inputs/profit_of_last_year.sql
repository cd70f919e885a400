-- Mean profit of an order of the last year, and profit as a share of revenue.
with newest as (

    select max(ordered_at) as ordered_at
    from gold.fct_orders
    where is_counted

)

select
    cast(avg(orders.profit_amount) as double) as of_an_order,
    cast(sum(orders.profit_amount) / nullif(sum(orders.revenue_amount), 0) as double) as margin
from gold.fct_orders as orders
cross join newest
where
    orders.is_counted
    and orders.profit_amount is not null
    and orders.ordered_at > newest.ordered_at - to_days(365)
