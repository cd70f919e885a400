-- Who may leave, and the revenue expected of each within the churn window; the likeliest to leave first.
select
    churn.person_id,
    churn.churn_probability,
    churn.is_at_risk,
    coalesce(clv.expected_revenue, 0) * shop.churn_window_days / nullif(clv.horizon_days, 0) as revenue
from ml.churn_scores as churn
inner join ml.clv_scores as clv on churn.person_id = clv.person_id
cross join silver.shop as shop
order by churn.churn_probability desc, churn.person_id asc
