-- What an order is besides its products: discounts, shipping, fees and the tax of all, on one line. It is of no units, but
-- of one where there are fees. Sums, and what orders were paid with, are neither.
select
    opencart_order as order_id,
    0 as line_number,
    {prefix}'order' as product_id,
    case when bool_or(opencart_kind = 'fee' and opencart_value <> 0) then 1 else 0 end as quantity,
    sum(case when opencart_kind = 'fee' then opencart_value else 0 end) as unit_price,
    sum(case when opencart_kind = 'discount' then -opencart_value else 0 end) as discount_amount,
    sum(case when opencart_kind = 'shipping' then opencart_value else 0 end) as shipping_amount,
    sum(case when opencart_kind = 'tax' then opencart_value else 0 end) as tax_amount
from bronze.order_total
group by _load_date, _source_file, opencart_order
