-- What the models of churn and value say of each person.
select
    coalesce(churn.person_id, clv.person_id) as person_id,
    churn.churn_probability,
    churn.is_at_risk,
    clv.expected_revenue,
    clv.horizon_days
from ml.churn_scores as churn
full outer join ml.clv_scores as clv on churn.person_id = clv.person_id
