with items as (

    select
        order_id,
        line_number,
        product_id,
        quantity,
        gross_amount,
        discount_amount,
        revenue_amount,
        cost_amount,
        profit_amount
    from gold.fct_order_items
    where is_valid

),

orders as (

    select
        order_id,
        order_number,
        person_number,
        order_date,
        orders as counted,
        channel,
        device,
        payment_method,
        region,
        customer_region,
        segment,
        age_group
    from gold.narrow_orders

),

products as (

    select
        product_id,
        category,
        brand
    from gold.dim_product

)

select
    orders.order_date,
    orders.order_number,
    items.line_number,
    orders.person_number,

    coalesce(products.category, 'unknown') as category,
    coalesce(products.brand, 'unknown') as brand,
    orders.channel,
    orders.device,
    orders.payment_method,
    orders.region,
    orders.customer_region,
    orders.segment,
    orders.age_group,

    orders.counted,
    -- Counting an order once per category without comparing its number with all others.
    case
        when row_number() over (partition by orders.order_number, products.category order by items.line_number) = 1
            then orders.counted
        else 0
    end as counted_in_category,
    1 as valid_lines,
    case when items.cost_amount is null then 0 else 1 end as cost_known_lines,
    items.quantity as units,
    items.gross_amount,
    items.discount_amount,
    items.revenue_amount as revenue,
    items.cost_amount,
    items.profit_amount as net_profit
from items
inner join orders on items.order_id = orders.order_id
left join products on items.product_id = products.product_id
