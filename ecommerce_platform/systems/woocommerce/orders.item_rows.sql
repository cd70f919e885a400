-- Orders, put together from their items; what is said of an order stands on each row. Statuses count as in orders of the
-- REST API.
select
    woo_row_order as order_id,
    max(woo_row_customer) as customer_id,
    min(woo_row_created) as ordered_at,
    case max(woo_row_status)
        when 'pending' then 'created'
        when 'checkout-draft' then 'created'
        when 'on-hold' then 'created'
        when 'processing' then 'processing'
        when 'completed' then 'shipped'
        when 'refunded' then 'returned'
        when 'cancelled' then 'canceled'
        when 'failed' then 'canceled'
        when 'trash' then 'canceled'
        else max(woo_row_status)
    end as status,
    max(woo_row_status) not in ('pending', 'checkout-draft', 'cancelled', 'failed', 'trash') as is_valid,
    upper(max(as_text("order_currency"))) as currency,
    false as tax_included,
    max(coalesce(as_text("shipping_postcode"), as_text("billing_postcode"))) as postal_code
from bronze.item_rows
group by _load_date, _source_file, woo_row_order
