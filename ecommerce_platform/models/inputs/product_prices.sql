-- Products as they sell now: units a week, the newest month's price, the prices ever asked (monthly means), cost.
with lines as (

    select
        items.product_id,
        items.order_date,
        items.quantity,
        items.gross_amount,
        items.unit_cost,
        products.category,
        date_trunc('month', items.order_date) as month
    from gold.fct_order_items as items
    inner join gold.dim_product as products on items.product_id = products.product_id
    where
        items.is_valid
        and items.quantity > 0
        and items.order_date is not null
        and products.category is not null

),

newest as (

    select max(order_date) as day
    from lines

),

months as (

    select
        product_id,
        month,
        cast(sum(gross_amount) as double) / nullif(sum(quantity), 0) as price
    from lines
    group by product_id, month

),

prices as (

    select
        product_id,
        arg_max(price, month) as price,
        min(price) as lowest,
        max(price) as highest
    from months
    group by product_id

)

select
    lines.category,
    lines.product_id,
    cast(sum(lines.quantity) as double) * 7 / nullif($days, 0) as units,
    prices.price,
    prices.lowest,
    prices.highest,
    cast(arg_max(lines.unit_cost, lines.order_date) as double) as cost
from lines
cross join newest
inner join prices on lines.product_id = prices.product_id
where lines.order_date > newest.day - $days and prices.price > 0
group by lines.category, lines.product_id, prices.price, prices.lowest, prices.highest
having sum(lines.quantity) >= $fewest_units
order by lines.category, lines.product_id
