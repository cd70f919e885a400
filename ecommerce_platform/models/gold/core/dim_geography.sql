with postal_codes as (

    select
        postal_code,
        city,
        state,
        region,
        latitude,
        longitude
    from silver.postal_codes

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
    postal_codes.postal_code,

    postal_codes.city,
    coalesce(states.state, postal_codes.state) as state,
    coalesce(states.state_code, postal_codes.state) as state_code,
    coalesce(postal_codes.region, states.region) as region,

    postal_codes.latitude,
    postal_codes.longitude
from postal_codes
left join states on postal_codes.state = states.spelling
