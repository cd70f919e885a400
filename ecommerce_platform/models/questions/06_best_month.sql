-- Which is the highest month of a year?
--
-- By revenue. Where the year is not complete, a better month may be missing.
select
    year,
    strftime(month, '%B') as best_month,
    revenue,
    revenue_share,
    orders,
    is_complete
from gold.kpi_best_months
order by year
