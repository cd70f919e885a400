-- Customers as their orders name them; guests have no account and go by their e-mail address.
select
    {prefix}magento_customer as customer_id,
    as_text(
        concat_ws(
            ' ',
            nullif(as_text("customer_firstname"), '\N'),
            nullif(as_text("customer_lastname"), '\N')
        )
    ) as full_name,
    as_text("customer_email") as email
from bronze.sales_order
where (nullif(nullif(as_text("customer_id"), '\N'), '0') is null or not {with:customer_entity})
