-- Mean score of reviews of orders with the product, with its standard error.
select
    items.product_id,
    avg(reviews.score) as score,
    coalesce(stddev_samp(reviews.score), 2) / nullif(sqrt(count(*)), 0) as error
from silver.reviews as reviews
inner join gold.fct_order_items as items on reviews.order_id = items.order_id
where reviews.score is not null
group by items.product_id
