-- A postal code that lost its leading zeros gets them back; of ZIP+4 the first five digits are the postal code.
select
    as_id(customer_id) as customer_id,
    case
        when regexp_matches(as_text(order_postal), '^[0-9]{3,5}(-[0-9]{4})?$')
            then lpad(split_part(as_text(order_postal), '-', 1), 5, '0')
        else as_text(order_postal)
    end as postal_code,
    as_text(order_city) as city,
    as_text(order_state) as state,
    'US' as country,
    as_double(latitude) as latitude,
    as_double(longitude) as longitude
from bronze.pet_retail__customer
