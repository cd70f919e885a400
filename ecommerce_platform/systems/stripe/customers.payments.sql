-- Customers as Stripe keeps them.
select
    {prefix}as_text("Customer ID") as customer_id,
    as_text("Customer Email") as email
from bronze.payments
where as_text("Customer ID") is not null
