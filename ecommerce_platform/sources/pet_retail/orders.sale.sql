-- A sale without an invoice is an order of its own, keyed by the row: by all its values, so that the key is the same
-- wherever the row stands. One that sold nothing (goods taken back, entries without goods) does not count as an order.
select
    coalesce(
        as_id(invoice_no),
        'row-' || md5(
            concat_ws(
                '/', as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M'),
                coalesce(as_id(customer_id), ''),
                as_text(stock_code), as_integer(quantity), as_decimal(unit_price), as_decimal(sale),
                coalesce(as_text(description), '')
            )
        )
    ) as order_id,
    max(as_id(customer_id)) as customer_id,
    min(as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M')) as ordered_at,
    case
        when max(as_integer(quantity)) < 0 then 'returned'
        when max(as_text(invoice_no)) is null then 'created'
        else 'invoiced'
    end as status,
    bool_or(as_integer(quantity) > 0) as is_valid
from bronze.pet_retail__sale
group by
    _load_date,
    coalesce(
        as_id(invoice_no),
        'row-' || md5(
            concat_ws(
                '/', as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M'),
                coalesce(as_id(customer_id), ''),
                as_text(stock_code), as_integer(quantity), as_decimal(unit_price), as_decimal(sale),
                coalesce(as_text(description), '')
            )
        )
    )
