-- Credit slips, with tax.
select
    {prefix}as_text("id_order_slip") as return_id,
    prestashop_table_order as order_id,
    coalesce(as_decimal(nullif(nullif("total_products_tax_incl", '\N'), 'NULL')), 0)
    + coalesce(as_decimal(nullif(nullif("total_shipping_tax_incl", '\N'), 'NULL')), 0) as refund_amount,
    as_timestamp("date_add") as returned_at
from bronze.order_slip
