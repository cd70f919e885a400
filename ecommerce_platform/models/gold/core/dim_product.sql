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

),

-- A name as lower case words between blanks, so that a word that stands in it on its own stands between blanks.
unbranded as (

    select
        product_id,
        ' ' || regexp_replace(lower(name), '[^\p{L}\p{N}]+', ' ', 'g') || ' ' as words
    from silver.products
    where brand is null and name is not null

),

-- What may begin a longer word has no blank behind it.
rules as (

    select
        position,
        brand,
        ' ' || trim(regexp_replace(lower(word), '[^\p{L}\p{N}]+', ' ', 'g'))
        || case when word like '%*' then '' else ' ' end as word
    from silver.brand_rules

),

recognised as (

    select
        unbranded.product_id,
        rules.brand
    from unbranded
    inner join rules on strpos(unbranded.words, rules.word) > 0
    qualify row_number() over (partition by unbranded.product_id order by rules.position) = 1

)

select
    products.product_id,

    products.name,
    -- A code that nobody has translated is still better than nothing: it keeps its sales in a place of their own.
    coalesce(categories.label, products.category) as category,
    products.category as category_code,
    coalesce(products.brand, recognised.brand) as brand,
    recognised.brand is not null as is_brand_recognised,

    products.list_price,
    products.unit_cost,
    products.weight,
    products.launched_at
from products
left join categories on products.category = categories.code
left join recognised on products.product_id = recognised.product_id
