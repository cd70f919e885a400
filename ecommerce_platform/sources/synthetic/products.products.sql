select
    as_text(sku) as product_id,
    as_text(title) as name,
    as_text(cat) as category,
    as_text(maker) as brand,
    as_decimal(price) as list_price,
    as_decimal(cost) as unit_cost,
    as_double(grams) as weight,
    as_timestamp(listed_on) as launched_at
from bronze.synthetic__products
