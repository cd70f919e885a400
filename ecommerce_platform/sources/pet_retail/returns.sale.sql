-- Goods taken back, with the number of the line that says so: numbered among all lines of the invoice.
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
    )
    || '-'
    || row_number() over (
        partition by
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
        order by
            as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M'), as_text(stock_code), as_integer(quantity),
            as_decimal(unit_price), as_decimal(sale), as_text(description), as_text(customer_id)
    ) as return_id,
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
    row_number() over (
        partition by
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
        order by
            as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M'), as_text(stock_code), as_integer(quantity),
            as_decimal(unit_price), as_decimal(sale), as_text(description), as_text(customer_id)
    ) as line_number,
    case when as_integer(quantity) < 0 then -as_integer(quantity) end as quantity,
    case when as_integer(quantity) < 0 then -as_decimal(sale) end as refund_amount,
    as_timestamp_format(transaction_date, '%m/%d/%Y %H:%M') as returned_at
from bronze.pet_retail__sale
qualify as_integer(quantity) < 0
