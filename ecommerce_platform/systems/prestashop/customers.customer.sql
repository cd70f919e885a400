-- Customers; a guest is one per order.
select
    prestashop_customer as customer_id,
    {prefix}'mail-' || md5(lower(as_text("email"))) as person_key,
    as_timestamp("date_add") as registered_at,
    as_text(concat_ws(' ', as_text("firstname"), as_text("lastname"))) as full_name,
    as_text("firstname") as given_name,
    as_text("lastname") as family_name,
    as_text("email") as email,
    as_date(nullif(nullif(nullif("birthday", '\N'), 'NULL'), '0000-00-00')) as birth_date
from bronze.customer
