select
    as_text(seller_id) as seller_id,
    as_text(seller_zip_code_prefix) as postal_code,
    as_text(seller_city) as city,
    as_text(seller_state) as state
from bronze.olist__sellers
