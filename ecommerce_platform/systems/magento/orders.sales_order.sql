-- Orders by the number that items name them by. One that is only waiting for its payment does not count yet.
select
    {prefix}as_text("entity_id") as order_id,
    {prefix}magento_customer as customer_id,
    magento_created as ordered_at,
    case as_text("state")
        when 'new' then 'created'
        when 'pending_payment' then 'created'
        when 'payment_review' then 'created'
        when 'holded' then 'created'
        when 'processing' then 'processing'
        when 'complete' then 'shipped'
        when 'closed' then 'returned'
        when 'canceled' then 'canceled'
        else as_text("state")
    end as status,
    as_text("state") not in ('canceled', 'pending_payment') as is_valid,
    nullif(as_text("coupon_code"), '\N') as discount_code,
    upper(nullif(as_text("base_currency_code"), '\N')) as currency,
    false as tax_included
from bronze.sales_order
