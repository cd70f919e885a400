-- Which is the best category of a year?
select
    year,
    category,
    revenue,
    revenue_share,
    orders,
    rank_by_units
from gold.kpi_categories_yearly
where rank_by_revenue = 1
order by year, category
