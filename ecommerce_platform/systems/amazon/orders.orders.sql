-- Orders, put together from their items. Amazon names no customer. An order counts as soon as one of its items has a
-- price: a pending one has none yet, and a canceled one has none any more.
select
    amazon_order as order_id,
    min(as_local_timestamp("purchase-date")) as ordered_at,
    case
        when lower(max(as_text("order-status"))) like 'cancel%' then 'canceled'
        when lower(max(as_text("order-status"))) like 'pending%' then 'created'
        when lower(max(as_text("order-status"))) in ('unshipped', 'invoiceunconfirmed') then 'approved'
        when lower(max(as_text("order-status"))) in ('partiallyshipped', 'shipping') then 'processing'
        when lower(max(as_text("order-status"))) in ('complete', 'shipped - delivered to buyer') then 'delivered'
        when lower(max(as_text("order-status"))) like 'shipped - return%' then 'returned'
        when lower(max(as_text("order-status"))) like 'shipped%' then 'shipped'
        when lower(max(as_text("order-status"))) = 'unfulfillable' then 'unavailable'
        else max(as_text("order-status"))
    end as status,
    coalesce(bool_or(as_text("item-price") is not null and not amazon_canceled), false) as is_valid,
    max(upper(as_text("currency"))) as currency,
    max(as_text("sales-channel")) as channel,
    max(as_text("ship-postal-code")) as postal_code
from bronze.orders
group by _load_date, _source_file, amazon_order
