-- Credit slips, with tax.
select
    {prefix}as_text("id") as return_id,
    {prefix}as_text("id_order") as order_id,
    coalesce(as_decimal("total_products_tax_incl"), 0) + coalesce(as_decimal("total_shipping_tax_incl"), 0) as refund_amount,
    as_timestamp("date_add") as returned_at
from bronze.order_slips
