-- Units by product and week before the newest day, week 0 being the last; a product's weeks begin with its first sale.
with lines as (

    select
        product_id,
        order_date,
        quantity,
        revenue_amount,
        unit_cost
    from gold.fct_order_items
    where is_valid and order_date is not null

),

newest as (

    select max(order_date) as last_date
    from lines

)

select
    lines.product_id,
    cast(floor(date_diff('day', lines.order_date, newest.last_date) / 7) as integer) as week,
    cast(sum(lines.quantity) as double) as units,
    cast(sum(lines.revenue_amount) as double) as revenue,
    cast(max(lines.unit_cost) as double) as unit_cost
from lines
cross join newest
where lines.order_date > newest.last_date - $days
group by lines.product_id, cast(floor(date_diff('day', lines.order_date, newest.last_date) / 7) as integer)
