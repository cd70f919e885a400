-- An order is paid once per method, so the method's number tells its payments apart.
select
    as_text(id) as order_id,
    as_integer(payment_id) as payment_number,
    as_text(payment_id) as method,
    sum(as_decimal(after_discount)) as amount
from bronze.marketplace__order_detail
group by _load_date, as_text(id), as_integer(payment_id), as_text(payment_id)
