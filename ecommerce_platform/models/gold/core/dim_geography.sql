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
        code,
        label
    from silver.labels
    where domain = 'state'

)

select
    postal_codes.postal_code,

    postal_codes.city,
    coalesce(states.label, postal_codes.state) as state,
    postal_codes.state as state_code,
    postal_codes.region,

    postal_codes.latitude,
    postal_codes.longitude
from postal_codes
left join states on postal_codes.state = states.code
