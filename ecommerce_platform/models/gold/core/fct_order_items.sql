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
        is_valid,
        currency,
        coalesce(is_test, false) as is_test
    from silver.orders

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
        orders.is_valid,
        orders.is_test,
        coalesce(orders.currency, shop.currency) as currency,
        orders.currency <> shop.currency as is_foreign,
        rates.exchange_rate
    from orders
    cross join shop
    left join identities on orders.customer_id = identities.customer_id
    left join rates on orders.currency = rates.currency and orders.order_date = rates.calendar_date

),

-- The line's own flag wins over the order's. A line whose order is missing has no day that its money could be
-- counted on, so it counts nowhere until the order arrives; nor does one whose currency has no rate on that day.
lines as (

    select
        items.order_id,
        items.line_number,
        items.product_id,
        items.seller_id,
        persons.customer_id,
        persons.person_id,
        persons.order_date,
        persons.order_id is not null and coalesce(items.is_valid, persons.is_valid) as would_count,
        persons.currency,
        coalesce(persons.is_foreign, false) as is_foreign,
        persons.exchange_rate,
        items.quantity,
        items.unit_price,
        items.unit_cost,
        products.unit_cost as product_cost,
        cast(items.quantity * items.unit_price as decimal(18, 4)) as gross_amount,
        cast(coalesce(items.discount_amount, 0) as decimal(18, 4)) as discount_amount,
        items.shipping_amount,
        items.tax_amount
    from items
    left join persons on items.order_id = persons.order_id
    left join products on items.product_id = products.product_id
    where not coalesce(persons.is_test, false)

),

-- Amounts in the shop's currency; those of another one by its rate, null without.
converted as (

    select
        order_id,
        line_number,
        product_id,
        seller_id,
        customer_id,
        person_id,
        order_date,
        quantity,
        currency,
        would_count,
        would_count and (exchange_rate is not null or not is_foreign) as is_valid,
        gross_amount as original_gross_amount,
        gross_amount - discount_amount as original_net_amount,
        case when is_foreign then exchange_rate when currency is not null then 1 end as exchange_rate,
        case when is_foreign then cast(unit_price * exchange_rate as decimal(18, 4)) else unit_price end as unit_price,
        coalesce(
            case when is_foreign then cast(unit_cost * exchange_rate as decimal(18, 4)) else unit_cost end,
            product_cost
        ) as unit_cost,
        case when is_foreign then cast(gross_amount * exchange_rate as decimal(18, 4)) else gross_amount end
            as gross_amount,
        case when is_foreign then cast(discount_amount * exchange_rate as decimal(18, 4)) else discount_amount end
            as discount_amount,
        case when is_foreign then cast(shipping_amount * exchange_rate as decimal(18, 4)) else shipping_amount end
            as shipping_amount,
        case when is_foreign then cast(tax_amount * exchange_rate as decimal(18, 4)) else tax_amount end as tax_amount
    from lines

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
    discount_amount,
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
    tax_amount,

    currency,
    cast(exchange_rate as decimal(20, 10)) as exchange_rate,
    original_gross_amount,
    cast(case when would_count then original_net_amount else 0 end as decimal(18, 4)) as original_revenue_amount
from converted
