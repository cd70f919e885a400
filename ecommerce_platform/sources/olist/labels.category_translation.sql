select
    'category' as domain,
    as_text(product_category_name) as code,
    as_text(product_category_name_english) as label
from bronze.olist__category_translation
