-- Customers as their orders name them.
select
    woo_customer as customer_id,
    {prefix}'mail-' || md5(woo_mail) as person_key,
    as_text(concat_ws(' ', as_text("billing"->>'$.first_name'), as_text("billing"->>'$.last_name'))) as full_name,
    as_text("billing"->>'$.first_name') as given_name,
    as_text("billing"->>'$.last_name') as family_name,
    as_text("billing"->>'$.email') as email,
    as_text("billing"->>'$.phone') as phone,
    as_text("billing"->>'$.address_1') as street,
    as_text("billing"->>'$.postcode') as postal_code,
    as_text("billing"->>'$.city') as city,
    as_text("billing"->>'$.state') as state,
    as_text("billing"->>'$.country') as country
from bronze.orders
where woo_customer is not null and (coalesce(nullif(as_text("customer_id"), '0'), '') = '' or not {with:customers})
