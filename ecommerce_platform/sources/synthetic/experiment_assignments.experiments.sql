select
    as_text(experiment) as experiment_id,
    'web-' || as_text(customer) as customer_id,
    as_text(variant) as arm,
    as_timestamp(assigned_at) as assigned_at
from bronze.synthetic__experiments
