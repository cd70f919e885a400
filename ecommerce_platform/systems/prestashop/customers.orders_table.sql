-- Customers, of whom an order says the number alone.
select prestashop_customer as customer_id
from bronze.orders_table
where prestashop_customer is not null
