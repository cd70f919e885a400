-- How do categories do, year over year?
--
-- The ten largest categories: their last complete months, twelve at most, beside the same months a year before.
with newest as (

    select max(month) as month
    from gold.kpi_category_yoy
    where revenue_growth is not null

)

select
    sold.category,
    count(*) as months,
    sum(sold.revenue) as revenue,
    sum(sold.revenue_year_before) as revenue_year_before,
    cast(sum(sold.revenue) as double) / nullif(sum(sold.revenue_year_before), 0) - 1 as growth
from gold.kpi_category_yoy as sold
cross join newest
where sold.revenue_growth is not null and sold.month > newest.month - interval 12 month
group by sold.category
order by revenue desc, sold.category asc
limit 10
