with customers as (

    select
        customer_id,
        person_key
    from silver.customers

)

select
    customer_id,
    case
        when person_key is null then customer_id
        else min(customer_id) over (partition by person_key)
    end as person_id,
    case when person_key is null then 'own_record' else 'person_key' end as rule,
    cast(1 as double) as match_probability
from customers
