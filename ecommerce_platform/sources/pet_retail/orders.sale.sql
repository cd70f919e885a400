-- An order that sold nothing (goods taken back, entries without goods) does not count as one.
select
    order_key as order_id,
    max(as_id(customer_id)) as customer_id,
    min(sold_at) as ordered_at,
    case
        when max(as_integer(quantity)) < 0 then 'returned'
        when max(as_text(invoice_no)) is null then 'created'
        else 'invoiced'
    end as status,
    bool_or(as_integer(quantity) > 0) as is_valid
from bronze.pet_retail__sale
group by _load_date, order_key
