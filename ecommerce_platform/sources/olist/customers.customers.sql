select
    as_text(customer_id) as customer_id,
    as_text(customer_unique_id) as person_key,
    as_text(customer_zip_code_prefix) as postal_code,
    as_text(customer_city) as city,
    as_text(customer_state) as state,
    'BR' as country
from bronze.olist__customers
