-- Customers as the shop keeps them. Orders name them by their e-mail address only, so it tells that they are the same
-- person.
select
    {prefix}coalesce(ltrim(as_text("Customer ID"), ''''), 'customer-' || md5(lower(as_text("Email")))) as customer_id,
    {prefix}'mail-' || md5(lower(as_text("Email"))) as person_key,
    as_text(concat_ws(' ', as_text("First Name"), as_text("Last Name"))) as full_name,
    as_text("Email") as email,
    coalesce(ltrim(as_text("Phone"), ''''), ltrim(as_text("Default Address Phone"), '''')) as phone,
    ltrim(as_text("Default Address Zip"), '''') as postal_code,
    as_text("Default Address City") as city,
    as_text("Default Address Province Code") as state,
    as_text("Default Address Country Code") as country
from bronze.customers
