-- What announces churn?
--
-- Factors known on a day, and who had left in the window after it; only those whose interval, corrected for the
-- number of factors, leaves out 1. A lift above 1: those with the factor (from the threshold on) leave more often.
-- What goes with churn need not cause it.
select
    factor,
    threshold,
    customers_with,
    churn_rate_with,
    churn_rate_without,
    lift,
    lift_low,
    lift_high
from gold.churn_factors
where is_lift_sure
order by abs(ln(nullif(lift, 0))) desc, factor asc
