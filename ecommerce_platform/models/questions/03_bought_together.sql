-- What is bought together?
--
-- The ten pairs with the surest lift, by the lower bound of its 95 % interval: how many times as often in one
-- order as if neither knew of the other.
select
    coalesce(product_name, product_id) as product,
    coalesce(other_product_name, other_product_id) as other_product,
    category,
    other_category,
    orders_together,
    confidence,
    lift,
    lift_low
from gold.product_affinity
where lift_low > 1
order by lift_low desc, product_id asc, other_product_id asc
limit 10
