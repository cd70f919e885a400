-- What each arm of an experiment is expected to move each person.
select
    person_id,
    arm,
    uplift,
    window_days
from ml.uplift_scores
where experiment_id = $experiment_id
order by arm, person_id
