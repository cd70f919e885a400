-- Which segments earn most?
--
-- The three largest of each way to split customers: by RFM segment, the shop's own segment, age group and where
-- they live today. A revenue_share above the customer_share says that these earn more than their number.
select
    dimension,
    value,
    customers,
    revenue,
    revenue_share,
    customer_share,
    revenue_per_customer
from gold.revenue_by_segment
where rank_by_revenue <= 3
order by dimension, rank_by_revenue, value
