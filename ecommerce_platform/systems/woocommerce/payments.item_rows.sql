-- What an order was paid with: its total. A refund is no payment less; it stands in returns.
select
    woo_row_order as order_id,
    1 as payment_number,
    coalesce(max(as_text("payment_method")), 'unknown') as method,
    max(as_decimal("order_total")) as amount,
    upper(max(as_text("order_currency"))) as currency
from bronze.item_rows
where as_text("paid_date") is not null or woo_row_status in ('processing', 'completed', 'refunded')
group by _load_date, _source_file, woo_row_order
