-- What buyers paid for an order, settlement by settlement: prices, shipping and wrapping with their taxes, less promotions.
select
    amazon_settled_order as order_id,
    amazon_settlement as payment_number,
    'amazon' as method,
    sum(amazon_settled) as amount,
    upper(max(as_text("currency"))) as currency,
    min(as_local_timestamp("posted-date-time", 'UTC')) as paid_at
from bronze.settlement
where amazon_settled_kind = 'paid'
group by _load_date, _source_file, amazon_settlement, amazon_settled_order
