-- Orders. One that was not confirmed, was canceled, denied or failed does not count; refunded ones do: what was paid back
-- stands in returns. Amounts are in the shop's currency; the order's is what they were shown in, at the rate beside it.
select
    opencart_order as order_id,
    opencart_customer as customer_id,
    as_timestamp("date_added") as ordered_at,
    case
        when opencart_state in (0, 1) then 'created'
        when opencart_state in (3, 5) then 'shipped'
        when opencart_state in (7, 8, 10, 14, 16) then 'canceled'
        when opencart_state in (11, 12, 13) then 'returned'
        else 'processing'
    end as status,
    opencart_state not in (0, 7, 8, 10, 14, 16) as is_valid,
    case when as_rate("currency_value") is null then upper(as_text("currency_code")) end as currency,
    false as tax_included,
    coalesce(as_text("shipping_postcode"), as_text("payment_postcode")) as postal_code
from bronze.orders
