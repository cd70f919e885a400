-- Customers as Stripe keeps them.
select
    {prefix}as_text("customer_id") as customer_id,
    as_text("customer_email") as email
from bronze.balance
where as_text("customer_id") is not null
