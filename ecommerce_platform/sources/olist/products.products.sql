select
    as_text(product_id) as product_id,
    as_text(product_category_name) as category,
    as_double(product_weight_g) as weight
from bronze.olist__products
