-- Customers as their orders name them.
select
    woo_row_customer as customer_id,
    {prefix}'mail-' || md5(woo_row_mail) as person_key,
    as_text(concat_ws(' ', as_text("billing_first_name"), as_text("billing_last_name"))) as full_name,
    as_text("billing_first_name") as given_name,
    as_text("billing_last_name") as family_name,
    coalesce(as_text("billing_email"), as_text("customer_email")) as email,
    as_text("billing_phone") as phone,
    as_text("billing_address_1") as street,
    as_text("billing_postcode") as postal_code,
    as_text("billing_city") as city,
    as_text("billing_state") as state,
    as_text("billing_country") as country
from bronze.item_rows
where woo_row_customer is not null and (coalesce(nullif(as_text("customer_id"), '0'), '') = '' or not {with:customers})
