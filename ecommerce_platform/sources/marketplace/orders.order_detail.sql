-- Lines with one id are one order; all of them name the same customer and day. A net line is completed, a valid one
-- is paid, and one that is only gross was placed and came to nothing.
select
    as_text(id) as order_id,
    max(as_text(customer_id)) as customer_id,
    -- Whatever wrote the file took the day for the month wherever it could: 2021-03-08 is the 3rd of August.
    min(as_timestamp(regexp_replace(order_date, '^(\d{4})-(\d{2})-(0\d|1[0-2])', '\1-\3-\2', 'g'))) as ordered_at,
    case
        when bool_or(as_boolean(is_net)) then 'delivered'
        when bool_or(as_boolean(is_valid)) then 'approved'
        else 'created'
    end as status,
    bool_or(as_boolean(is_valid)) as is_valid
from bronze.marketplace__order_detail
group by _load_date, as_text(id)
