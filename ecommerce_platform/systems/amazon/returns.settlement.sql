-- What a buyer got back for an order, settlement by settlement: prices with their taxes, less promotions.
select
    amazon_refund as return_id,
    amazon_settled_order as order_id,
    -sum(amazon_settled) as refund_amount,
    upper(max(as_text("currency"))) as currency,
    min(as_local_timestamp("posted-date-time", 'UTC')) as returned_at
from bronze.settlement
where amazon_settled_kind = 'refunded'
group by _load_date, _source_file, amazon_refund, amazon_settled_order
