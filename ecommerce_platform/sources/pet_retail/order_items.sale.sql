-- Lines have no number, and an invoice may list a product twice: they are numbered by what they say. Goods taken back
-- (silver.returns has them, too) and entries without goods are lines, but no sales.
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
    as_text(stock_code) as product_id,
    as_integer(quantity) as quantity,
    as_decimal(unit_price) as unit_price,
    as_integer(quantity) > 0 as is_valid
from bronze.pet_retail__sale
