-- How do delivery and reviews affect repeat purchase?
--
-- Customers followed for 90 days after their first delivery (or review): a ratio below 1 says that those of the
-- level came back less often than those of the reference who are alike in month, region, category and basket. The
-- E-value says how strongly something unmeasured would have to go with both to explain it away.
select
    exposure,
    level,
    persons,
    repeat_rate,
    raw_ratio,
    adjusted_ratio,
    adjusted_ratio_low,
    adjusted_ratio_high,
    e_value
from gold.delivery_experience
order by exposure, level
