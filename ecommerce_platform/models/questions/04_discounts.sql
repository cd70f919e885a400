-- Would discounts help?
--
-- The ten largest categories that had days of a sale: units beside days without, naive and among like days
-- (adjusted), and the profit of those days beside what the days beside them let expect, with the interval of the
-- difference. Sales are held when much is sold anyway, so the naive ratio flatters them. What a discount would do
-- that was given otherwise only an experiment says (ml.experiment_results; before one, ml.retention_simulation).
select
    category,
    sale_days,
    discount_depth,
    volume_ratio_naive,
    volume_ratio_adjusted,
    sale_profit,
    profit_expected,
    profit_change_low,
    profit_change_high
from gold.discount_performance
where sale_days > 0
order by revenue desc, category asc
limit 10
