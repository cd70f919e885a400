with items as (

    select
        order_id,
        line_number,
        product_id,
        seller_id,
        quantity,
        unit_price,
        discount_amount,
        shipping_amount,
        tax_amount,
        unit_cost,
        is_valid
    from silver.order_items

),

orders as (

    select
        order_id,
        customer_id,
        cast(ordered_at as date) as order_date,
        is_valid
    from silver.orders

),

identities as (

    select
        customer_id,
        person_id
    from silver.customer_identities

),

products as (

    select
        product_id,
        unit_cost
    from gold.dim_product

),

-- An order may name a customer record that was not delivered (yet): until it is, the record stands for a
-- person of its own, by the same rule as silver.customer_identities.
persons as (

    select
        orders.order_id,
        orders.customer_id,
        coalesce(identities.person_id, orders.customer_id) as person_id,
        orders.order_date,
        orders.is_valid
    from orders
    left join identities on orders.customer_id = identities.customer_id

),

-- The line's own flag wins over the order's. A line whose order is missing has no day that its money could be
-- counted on, so it counts nowhere until the order arrives.
lines as (

    select
        items.order_id,
        items.line_number,
        items.product_id,
        items.seller_id,
        persons.customer_id,
        persons.person_id,
        persons.order_date,
        persons.order_id is not null and coalesce(items.is_valid, persons.is_valid) as is_valid,
        items.quantity,
        items.unit_price,
        coalesce(items.unit_cost, products.unit_cost) as unit_cost,
        cast(items.quantity * items.unit_price as decimal(18, 4)) as gross_amount,
        coalesce(items.discount_amount, 0) as discount_amount,
        items.shipping_amount,
        items.tax_amount
    from items
    left join persons on items.order_id = persons.order_id
    left join products on items.product_id = products.product_id

)

select
    order_id,
    line_number,

    product_id,
    seller_id,
    customer_id,
    person_id,
    order_date,
    is_valid,

    quantity,
    unit_price,
    unit_cost,

    gross_amount,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(case when is_valid then gross_amount - discount_amount else 0 end as decimal(18, 4)) as revenue_amount,
    cast(quantity * unit_cost as decimal(18, 4)) as cost_amount,
    cast(
        case
            when unit_cost is null then null
            when is_valid then gross_amount - discount_amount - quantity * unit_cost
            else 0
        end as decimal(18, 4)
    ) as profit_amount,
    shipping_amount,
    tax_amount
from lines
