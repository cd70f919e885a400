-- Money paid back of an order, in all; neither for what nor when is said.
select
    woo_row_refund as return_id,
    woo_row_order as order_id,
    max(as_decimal("refunded_total")) as refund_amount
from bronze.item_rows
where as_decimal("refunded_total") > 0
group by _load_date, _source_file, woo_row_refund, woo_row_order
