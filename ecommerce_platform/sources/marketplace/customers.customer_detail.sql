select
    as_text(id) as customer_id,
    as_timestamp(registered_date) as registered_at,
    'PK' as country
from bronze.marketplace__customer_detail
