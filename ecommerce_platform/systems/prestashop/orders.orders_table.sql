-- Orders. One that was canceled or whose payment failed does not count; one that waits for a transfer or was refunded does.
select
    prestashop_table_order as order_id,
    prestashop_customer as customer_id,
    as_timestamp("date_add") as ordered_at,
    case
        when prestashop_state in (6, 8) then 'canceled'
        when prestashop_state = 7 then 'returned'
        when prestashop_state = 5 then 'delivered'
        when prestashop_state = 4 then 'shipped'
        when prestashop_state in (3, 9) then 'processing'
        when as_boolean("valid") then 'approved'
        else 'created'
    end as status,
    prestashop_state not in (6, 8) and (as_boolean("valid") or prestashop_state <= 13) as is_valid,
    false as tax_included
from bronze.orders_table
