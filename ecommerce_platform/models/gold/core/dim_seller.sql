with sellers as (

    select
        seller_id,
        postal_code,
        city,
        state
    from silver.sellers

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

)

select
    sellers.seller_id,

    sellers.postal_code,
    coalesce(sellers.city, geography.city) as city,
    coalesce(states.state, sellers.state, geography.state) as state,
    coalesce(states.state_code, sellers.state, geography.state_code) as state_code,
    coalesce(states.region, geography.region) as region,
    geography.latitude,
    geography.longitude
from sellers
left join geography on sellers.postal_code = geography.postal_code
left join states on sellers.state = states.spelling
