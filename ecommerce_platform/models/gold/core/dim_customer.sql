with identities as (

    select
        customer_id,
        person_id
    from silver.customer_identities

),

customers as (

    select
        customer_id,
        registered_at,
        last_purchase_date,
        coalesce(full_name, nullif(concat_ws(' ', given_name, family_name), '')) as full_name,
        email,
        phone,
        birth_date,
        age_group,
        customer_segment,
        postal_code,
        city,
        state,
        region,
        country,
        latitude,
        longitude
    from silver.customers

),

orders as (

    select
        customer_id,
        ordered_at
    from silver.orders
    where customer_id is not null and not coalesce(is_test, false)

),

geography as (

    select
        postal_code,
        city,
        state,
        state_code,
        region,
        latitude,
        longitude
    from gold.dim_geography

),

states as (

    select
        spelling,
        state,
        state_code,
        region
    from gold.state_spellings

),

record_orders as (

    select
        customer_id,
        count(*) as orders,
        min(ordered_at) as first_ordered_at,
        max(ordered_at) as last_ordered_at
    from orders
    group by customer_id

),

-- Every record, also one that so far only an order names: it stands for a person of its own, so that facts
-- always find their person here.
records as (

    select
        coalesce(identities.customer_id, record_orders.customer_id) as customer_id,
        coalesce(identities.person_id, record_orders.customer_id) as person_id,
        case when identities.customer_id is null then 0 else 1 end as is_delivered,
        customers.registered_at,
        coalesce(record_orders.orders, 0) as orders,
        record_orders.first_ordered_at,
        record_orders.last_ordered_at
    from identities
    full join record_orders on identities.customer_id = record_orders.customer_id
    left join customers on identities.customer_id = customers.customer_id

),

persons as (

    select
        person_id,
        sum(is_delivered) as records,
        sum(orders) as orders,
        min(registered_at) as first_registered_at,
        min(first_ordered_at) as first_ordered_at,
        max(last_ordered_at) as last_ordered_at,
        max(customer_id) as last_customer_id
    from records
    group by person_id

),

-- Only persons with several records need a choice: the record of the newest order; of two orders in the same
-- second, and of records without orders, the one with the largest id.
chosen as (

    select
        records.person_id,
        records.customer_id
    from records
    inner join persons on records.person_id = persons.person_id
    where persons.records > 1
    qualify
        row_number() over (
            partition by records.person_id
            order by records.last_ordered_at desc nulls last, records.customer_id desc
        ) = 1

)

select
    persons.person_id,

    coalesce(chosen.customer_id, persons.last_customer_id) as customer_id,

    customers.full_name,
    customers.email,
    customers.phone,
    customers.birth_date,
    customers.age_group,
    customers.customer_segment,
    customers.registered_at,

    customers.postal_code,
    coalesce(customers.city, geography.city) as city,
    coalesce(states.state, customers.state, geography.state) as state,
    coalesce(states.state_code, customers.state, geography.state_code) as state_code,
    coalesce(
        customers.region,
        case when geography.state = coalesce(states.state, customers.state) then geography.region end,
        states.region,
        geography.region
    ) as region,
    customers.country,
    coalesce(customers.latitude, geography.latitude) as latitude,
    coalesce(customers.longitude, geography.longitude) as longitude,

    cast(persons.first_ordered_at as date) as first_order_date,
    cast(persons.last_ordered_at as date) as last_order_date,
    customers.last_purchase_date as stated_last_purchase_date,
    cast(persons.first_registered_at as date) > cast(persons.first_ordered_at as date)
        as is_registered_after_first_order,
    cast(persons.records as bigint) as records,
    cast(persons.orders as bigint) as orders_placed
from persons
left join chosen on persons.person_id = chosen.person_id
left join customers on coalesce(chosen.customer_id, persons.last_customer_id) = customers.customer_id
left join geography on customers.postal_code = geography.postal_code
left join states on customers.state = states.spelling
