select
    as_id(customer_id) as customer_id,
    as_timestamp(acquisition_date) as registered_at,
    as_timestamp(last_purchase_date) as last_purchase_date,
    as_text(age_group) as age_group,
    as_text(segment) as customer_segment,
    as_text(region) as region
from bronze.analytics_shop__customers
