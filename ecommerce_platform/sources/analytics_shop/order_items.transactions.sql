-- The one line of a transaction: a unit of its category, at the revenue. Money paid back is a line, but no sale.
select
    as_id(transaction_id) as order_id,
    1 as line_number,
    coalesce(as_text(category), 'unknown') as product_id,
    case when as_decimal(revenue) < 0 then -1 else 1 end as quantity,
    abs(as_decimal(revenue)) as unit_price,
    as_decimal(revenue) >= 0 as is_valid
from bronze.analytics_shop__transactions
