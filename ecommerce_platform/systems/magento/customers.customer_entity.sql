-- Customers with an account.
select
    {prefix}as_text("entity_id") as customer_id,
    as_local_timestamp("created_at", 'UTC') as registered_at,
    as_text(concat_ws(' ', nullif(as_text("firstname"), '\N'), nullif(as_text("lastname"), '\N'))) as full_name,
    as_text("email") as email,
    as_date(nullif("dob", '\N')) as birth_date
from bronze.customer_entity
