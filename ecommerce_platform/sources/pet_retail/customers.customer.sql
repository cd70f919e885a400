select
    as_id(customer_id) as customer_id,
    zip_code as postal_code,
    as_text(order_city) as city,
    as_text(order_state) as state,
    'US' as country,
    as_double(latitude) as latitude,
    as_double(longitude) as longitude
from bronze.pet_retail__customer
