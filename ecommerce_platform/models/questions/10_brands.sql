-- Which brands sell most?
select
    rank_by_revenue,
    brand,
    revenue,
    revenue_share,
    units,
    orders
from gold.kpi_brand_ranking
where rank_by_revenue <= 10
order by rank_by_revenue, brand
