-- What buyers got back: price, tax and shipping of an item, less the promotion on it.
select
    amazon_refund as return_id,
    {prefix}as_text("order-id") as order_id,
    -sum(as_decimal(replace("amount", ',', '.'))) as refund_amount,
    max(as_local_timestamp("posted-date-time")) as returned_at
from bronze.settlement
where as_text("transaction-type") = 'Refund' and as_text("amount-type") in ('ItemPrice', 'Promotion') and amazon_own_currency
group by _load_date, _source_file, amazon_refund, {prefix}as_text("order-id")
