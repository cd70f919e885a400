-- Customers as their orders name them; guests go by their e-mail address.
select
    opencart_customer as customer_id,
    {prefix}'mail-' || md5(opencart_mail) as person_key,
    as_text(concat_ws(' ', as_text("firstname"), as_text("lastname"))) as full_name,
    as_text("firstname") as given_name,
    as_text("lastname") as family_name,
    as_text("email") as email,
    as_text("telephone") as phone,
    as_text("payment_address_1") as street,
    as_text("payment_postcode") as postal_code,
    as_text("payment_city") as city,
    as_text("payment_zone") as state,
    as_text("payment_country") as country
from bronze.orders
where opencart_customer is not null
