-- Orders whose state is refunded, reversed or charged back: all of it; when is not said.
select
    opencart_order || '-refund' as return_id,
    opencart_order as order_id,
    as_decimal("total") as refund_amount
from bronze.orders
where opencart_state in (11, 12, 13) and as_decimal("total") <> 0
