-- There is no catalogue: a category is a product. Transactions without one share one that has none.
select
    coalesce(as_text(category), 'unknown') as product_id,
    max(as_text(category)) as name,
    max(as_text(category)) as category
from bronze.analytics_shop__transactions
group by _load_date, coalesce(as_text(category), 'unknown')
