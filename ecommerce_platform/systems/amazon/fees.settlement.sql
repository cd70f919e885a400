-- What Amazon takes, for orders and besides; equal amounts of a moment are one. Below 0 is what it gives back, such as its
-- commission after a refund. The settlement itself is a fee of 0: its row says the currency of the others, which may not.
select
    amazon_fee as fee_id,
    max(amazon_settled_order) as order_id,
    max(
        coalesce(nullif(as_text("amount-description"), 'TransactionTotalAmount'), as_text("amount-type"), 'settlement')
    ) as fee_type,
    -sum(coalesce(amazon_settled, 0)) as amount,
    upper(max(max(as_text("currency"))) over (partition by _load_date, _source_file, amazon_settlement)) as currency,
    min(as_local_timestamp("posted-date-time", 'UTC')) as charged_at
from bronze.settlement
where amazon_settled_kind = 'fee'
group by _load_date, _source_file, amazon_settlement, amazon_fee
