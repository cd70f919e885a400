-- Orders. One that was canceled or whose payment failed does not count; one that waits for a transfer or was refunded does.
select
    prestashop_order as order_id,
    prestashop_customer as customer_id,
    as_timestamp("date_add") as ordered_at,
    prestashop_status as status,
    prestashop_counts as is_valid,
    false as tax_included
from bronze.orders
