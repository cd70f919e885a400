-- Money paid back, in all: the export says neither for what nor when.
select
    shopify_order || '-refunds' as return_id,
    shopify_order as order_id,
    as_decimal("Refunded Amount") as refund_amount
from bronze.orders
where as_decimal("Refunded Amount") > 0
