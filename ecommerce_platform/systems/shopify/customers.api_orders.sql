-- Customers as their orders name them.
select
    shopify_api_customer as customer_id,
    {prefix}'mail-' || md5(lower(coalesce(as_text("customer"->>'$.email'), as_text("email")))) as person_key,
    as_text(concat_ws(' ', as_text("customer"->>'$.first_name'), as_text("customer"->>'$.last_name'))) as full_name,
    as_text("customer"->>'$.first_name') as given_name,
    as_text("customer"->>'$.last_name') as family_name,
    coalesce(as_text("customer"->>'$.email'), as_text("email")) as email,
    coalesce(as_text("phone"), as_text("billing_address"->>'$.phone')) as phone,
    as_text("billing_address"->>'$.address1') as street,
    as_text("billing_address"->>'$.zip') as postal_code,
    as_text("billing_address"->>'$.city') as city,
    as_text("billing_address"->>'$.province_code') as state,
    as_text("billing_address"->>'$.country_code') as country
from bronze.api_orders
where shopify_api_customer is not null and not {with:customers}
