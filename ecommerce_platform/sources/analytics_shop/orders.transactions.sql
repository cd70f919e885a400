-- A transaction is an order. Of one that was delivered only the days that it took are known.
select
    as_id(transaction_id) as order_id,
    as_id(customer_id) as customer_id,
    as_timestamp(date) as ordered_at,
    as_timestamp(date) + as_integer(delivery_days) * interval 1 day as delivered_at,
    case
        when as_decimal(revenue) < 0 then 'returned'
        when as_integer(delivery_days) is not null then 'delivered'
        else 'invoiced'
    end as status,
    -- Without a revenue the order stands without a line: silver.rejects has it.
    coalesce(as_decimal(revenue) >= 0, true) as is_valid,
    as_text(channel) as channel,
    as_text(region) as region,
    as_double(satisfaction_score) as satisfaction_score
from bronze.analytics_shop__transactions
