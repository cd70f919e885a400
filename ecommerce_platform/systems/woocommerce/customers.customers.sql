-- Customers with an account.
select
    {prefix}as_text("id") as customer_id,
    {prefix}'mail-' || md5(lower(as_text("email"))) as person_key,
    as_local_timestamp("date_created_gmt", 'UTC') as registered_at,
    as_text(concat_ws(' ', as_text("first_name"), as_text("last_name"))) as full_name,
    as_text("first_name") as given_name,
    as_text("last_name") as family_name,
    as_text("email") as email,
    as_text("billing"->>'$.phone') as phone,
    as_text("billing"->>'$.address_1') as street,
    as_text("billing"->>'$.postcode') as postal_code,
    as_text("billing"->>'$.city') as city,
    as_text("billing"->>'$.state') as state,
    as_text("billing"->>'$.country') as country
from bronze.customers
