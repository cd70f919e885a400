-- Counted orders of each day.
select
    order_date,
    count(*) as orders
from gold.fct_orders
where is_counted and order_date is not null
group by order_date
