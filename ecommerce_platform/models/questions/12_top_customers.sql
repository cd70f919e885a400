-- How much of revenue do the top 1, 5 and 20 % of customers bring?
--
-- Of the revenue of all customers; were all alike, 1 % of them would bring 1 % of it.
with customers as (

    select
        person_id,
        revenue,
        row_number() over (order by revenue desc, person_id asc) as place,
        count(*) over () as customers,
        sum(revenue) over () as total
    from gold.customer_lifetime_value

),

tops as (

    select share
    from (values (0.01), (0.05), (0.2)) as t (share)

)

select
    tops.share as top,
    count(*) as customers,
    sum(customers.revenue) as revenue,
    cast(sum(customers.revenue) as double) / nullif(min(customers.total), 0) as revenue_share,
    min(customers.revenue) as from_revenue
from customers
inner join tops on ceil(tops.share * customers.customers) >= customers.place
group by tops.share
order by tops.share
