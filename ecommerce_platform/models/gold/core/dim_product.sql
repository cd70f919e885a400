with products as (

    select
        product_id,
        name,
        category,
        brand,
        list_price,
        unit_cost,
        weight,
        launched_at
    from silver.products

),

categories as (

    select
        code,
        label
    from silver.labels
    where domain = 'category'

)

select
    products.product_id,

    products.name,
    -- A code that nobody has translated is still better than nothing: it keeps its sales in a place of their own.
    coalesce(categories.label, products.category) as category,
    products.category as category_code,
    products.brand,

    products.list_price,
    products.unit_cost,
    products.weight,
    products.launched_at
from products
left join categories on products.category = categories.code
