-- Each order's products, each once, of orders that count.
with baskets as (

    select distinct
        items.order_id,
        items.product_id
    from gold.fct_order_items as items
    inner join gold.fct_orders as orders on items.order_id = orders.order_id
    -- What an order is charged as a whole is a line of no units, and no product.
    where items.is_valid and items.quantity <> 0 and orders.is_counted

),

everything as (

    select count(distinct order_id) as orders
    from baskets

),

-- A pair that few orders hold says little, and most pairs are like that.
support as (

    select max(min_pair_orders) as min_pair_orders
    from silver.shop

),

sold as (

    select
        baskets.product_id,
        count(*) as orders
    from baskets
    cross join support
    group by baskets.product_id, support.min_pair_orders
    having count(*) >= support.min_pair_orders

),

frequent as (

    select
        baskets.order_id,
        baskets.product_id
    from baskets
    inner join sold on baskets.product_id = sold.product_id

),

together as (

    select
        a.product_id,
        b.product_id as other_product_id,
        count(*) as orders_together
    from frequent as a
    inner join frequent as b on a.order_id = b.order_id and a.product_id < b.product_id
    cross join support
    group by a.product_id, b.product_id, support.min_pair_orders
    having count(*) >= support.min_pair_orders

),

counted as (

    select
        together.product_id,
        together.other_product_id,
        together.orders_together,
        a.orders as orders_with_product,
        b.orders as orders_with_other,
        everything.orders
    from together
    inner join sold as a on together.product_id = a.product_id
    inner join sold as b on together.other_product_id = b.product_id
    cross join everything

),

rated as (

    select
        *,
        cast(orders_together as double) * orders
        / nullif(cast(orders_with_product as double) * orders_with_other, 0) as lift
    from counted

)

select
    rated.product_id,
    rated.other_product_id,

    products.name as product_name,
    others.name as other_product_name,
    products.category,
    others.category as other_category,

    rated.orders_together,
    rated.orders_with_product,
    rated.orders_with_other,
    rated.orders,

    rated.orders_together / nullif(rated.orders, 0) as support,
    rated.orders_together / nullif(rated.orders_with_product, 0) as confidence,
    rated.orders_together / nullif(rated.orders_with_other, 0) as confidence_of_other,
    rated.lift,
    -- How often either is bought is taken as given; the orders that hold both scatter as counts do. Byar's limits hold
    -- for small counts, too (Breslow and Day 1987, Statistical Methods in Cancer Research II, p. 69).
    rated.lift * power(
        1 - 1 / nullif(9.0 * rated.orders_together, 0) - 1.96 / nullif(3 * sqrt(rated.orders_together), 0), 3
    ) as lift_low
from rated
left join gold.dim_product as products on rated.product_id = products.product_id
left join gold.dim_product as others on rated.other_product_id = others.product_id
