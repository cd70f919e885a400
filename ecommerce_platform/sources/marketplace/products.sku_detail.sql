select
    as_text(id) as product_id,
    as_text(sku_name) as name,
    as_text(category) as category,
    as_decimal(base_price) as list_price,
    as_decimal(cogs) as unit_cost
from bronze.marketplace__sku_detail
