with orders as (

    select
        order_id,
        customer_id,
        campaign_id,
        ordered_at,
        approved_at,
        shipped_at,
        delivered_at,
        promised_at,
        status,
        is_valid,
        channel,
        device,
        postal_code,
        region,
        satisfaction_score,
        discount_code,
        currency,
        tax_included
    from silver.orders
    where not coalesce(is_test, false)

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

customers as (

    select
        customer_id,
        postal_code,
        state,
        region
    from silver.customers

),

states as (

    select
        spelling,
        state,
        region
    from gold.state_spellings

),

identities as (

    select
        customer_id,
        person_id
    from silver.customer_identities

),

items as (

    select
        order_id,
        is_valid,
        quantity,
        gross_amount,
        discount_amount,
        cost_amount,
        profit_amount,
        original_revenue_amount
    from gold.fct_order_items

),

payments as (

    select
        order_id,
        method,
        amount
    from silver.payments

),

methods as (

    select
        code,
        label
    from silver.labels
    where domain = 'payment_method'

),

shipments as (

    select
        order_id,
        shipped_at,
        promised_at,
        delivered_at
    from silver.shipments

),

orders_without_times as (

    select order_id
    from silver.orders
    where shipped_at is null or promised_at is null or delivered_at is null

),

geography as (

    select
        postal_code,
        state,
        region
    from gold.dim_geography

),

-- The region of a customer record's address, as in gold.dim_customer.
addresses as (

    select
        customers.customer_id,
        coalesce(
            customers.region,
            case when geography.state = coalesce(states.state, customers.state) then geography.region end,
            states.region,
            geography.region
        ) as region
    from customers
    left join geography on customers.postal_code = geography.postal_code
    left join states on customers.state = states.spelling

),

-- Money is summed over valid lines only; revenue follows from it, so that one definition of it stays.
line_totals as (

    select
        order_id,
        count(*) as valid_lines,
        count(cost_amount) as cost_known_lines,
        cast(sum(quantity) as bigint) as units,
        cast(sum(gross_amount) as decimal(18, 4)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 4)) as discount_amount,
        cast(sum(cost_amount) as decimal(18, 4)) as cost_amount,
        cast(sum(profit_amount) as decimal(18, 4)) as profit_amount
    from items
    where is_valid
    group by order_id

),

-- Of the orders in another currency, also those that wait for its rate.
foreign_totals as (

    select
        items.order_id,
        cast(sum(items.original_revenue_amount) as decimal(18, 4)) as original_revenue_amount
    from items
    inner join orders on items.order_id = orders.order_id
    where orders.currency is not null
    group by items.order_id

),

-- The method of an order is that of its largest payment; of equal ones the first by name, so that the choice
-- never depends on the order of rows.
payment_methods as (

    select
        payments.order_id,
        min(
            struct_pack(debit := -payments.amount, method := coalesce(methods.label, payments.method))
        ).method as payment_method
    from payments
    left join methods on payments.method = methods.code
    group by payments.order_id

),

-- Shops that keep times on the parcel only: asked just where the order itself does not say. An order has
-- arrived when its last parcel has.
parcels as (

    select
        shipments.order_id,
        min(shipments.shipped_at) as shipped_at,
        max(shipments.promised_at) as promised_at,
        case when count(*) = count(shipments.delivered_at) then max(shipments.delivered_at) end as delivered_at
    from shipments
    inner join orders_without_times on shipments.order_id = orders_without_times.order_id
    group by shipments.order_id

),

joined as (

    select
        orders.order_id,
        orders.customer_id,
        coalesce(identities.person_id, orders.customer_id) as person_id,
        orders.campaign_id,
        cast(orders.ordered_at as date) as order_date,
        orders.status,
        orders.is_valid,
        orders.channel,
        orders.device,
        orders.postal_code,
        coalesce(orders.region, geography.region, addresses.region) as region,
        orders.satisfaction_score,
        payment_methods.payment_method,

        orders.ordered_at,
        orders.approved_at,
        coalesce(orders.shipped_at, parcels.shipped_at) as shipped_at,
        coalesce(orders.promised_at, parcels.promised_at) as promised_at,
        coalesce(orders.delivered_at, parcels.delivered_at) as delivered_at,

        coalesce(line_totals.valid_lines, 0) as valid_lines,
        coalesce(line_totals.cost_known_lines, 0) as cost_known_lines,
        coalesce(line_totals.units, 0) as units,
        coalesce(line_totals.gross_amount, 0) as gross_amount,
        coalesce(line_totals.discount_amount, 0) as discount_amount,
        line_totals.cost_amount,
        line_totals.profit_amount,

        orders.discount_code,
        coalesce(orders.currency, shop.currency) as currency,
        case when orders.currency <> shop.currency then rates.exchange_rate else 1 end as exchange_rate,
        foreign_totals.original_revenue_amount,
        orders.tax_included
    from orders
    cross join shop
    left join rates
        on orders.currency = rates.currency and cast(orders.ordered_at as date) = rates.calendar_date
    left join foreign_totals on orders.order_id = foreign_totals.order_id
    left join identities on orders.customer_id = identities.customer_id
    left join line_totals on orders.order_id = line_totals.order_id
    left join payment_methods on orders.order_id = payment_methods.order_id
    left join parcels on orders.order_id = parcels.order_id
    left join geography on orders.postal_code = geography.postal_code
    left join addresses on orders.customer_id = addresses.customer_id

)

select
    order_id,

    customer_id,
    person_id,
    campaign_id,
    order_date,
    status,
    is_valid,
    is_valid and valid_lines > 0 as is_counted,
    channel,
    device,
    payment_method,
    postal_code,
    region,

    ordered_at,
    approved_at,
    shipped_at,
    promised_at,
    delivered_at,
    date_diff('day', cast(ordered_at as date), cast(delivered_at as date)) as delivery_days,
    date_diff('day', cast(promised_at as date), cast(delivered_at as date)) as days_late,
    cast(delivered_at as date) <= cast(promised_at as date) as is_on_time,

    valid_lines,
    cost_known_lines,
    units,
    cast(gross_amount as decimal(18, 4)) as gross_amount,
    cast(discount_amount as decimal(18, 4)) as discount_amount,
    cast(gross_amount - discount_amount as decimal(18, 4)) as revenue_amount,
    cost_amount,
    profit_amount,
    satisfaction_score,

    discount_code,
    currency,
    cast(exchange_rate as decimal(20, 10)) as exchange_rate,
    cast(coalesce(original_revenue_amount, gross_amount - discount_amount) as decimal(18, 4))
        as original_revenue_amount,
    tax_included
from joined
