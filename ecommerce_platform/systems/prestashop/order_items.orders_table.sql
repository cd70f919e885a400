-- What an order is besides its rows: discounts, shipping and wrapping, and their tax, on a line of no units, which
-- every order has, so that a newer delivery takes back what an older one said. Where more tax is taken off than comes on,
-- it makes the discount larger.
select
    prestashop_table_order as order_id,
    0 as line_number,
    {prefix}'order' as product_id,
    0 as quantity,
    0 as unit_price,
    prestashop_discounts + greatest(-prestashop_charged_tax, 0) as discount_amount,
    prestashop_charges as shipping_amount,
    greatest(prestashop_charged_tax, 0) as tax_amount
from bronze.orders_table
