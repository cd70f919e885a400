-- Customers by their e-mail address, the only thing about them that every order says; the id is made of it.
select
    shopify_customer as customer_id,
    shopify_customer as person_key,
    as_text("Billing Name") as full_name,
    as_text("Email") as email,
    coalesce(ltrim(as_text("Phone"), ''''), ltrim(as_text("Billing Phone"), '''')) as phone,
    ltrim(as_text("Billing Zip"), '''') as postal_code,
    as_text("Billing City") as city,
    as_text("Billing Province") as state,
    as_text("Billing Country") as country
from bronze.orders
where as_text("Email") is not null
