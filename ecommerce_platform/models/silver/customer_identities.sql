with customers as (

    select
        customer_id,
        person_key
    from silver.customers

),

clusters as (

    select
        customer_id,
        person_id,
        rule,
        match_probability
    from silver.customer_clusters

),

keyed as (

    select
        customer_id,
        case
            when person_key is null then customer_id
            else min(customer_id) over (partition by person_key)
        end as person_id,
        case when person_key is null then 'own_record' else 'person_key' end as rule
    from customers

)

select
    keyed.customer_id,
    coalesce(clusters.person_id, keyed.person_id) as person_id,
    coalesce(clusters.rule, keyed.rule) as rule,
    coalesce(clusters.match_probability, cast(1 as double)) as match_probability
from keyed
left join clusters on keyed.customer_id = clusters.customer_id
