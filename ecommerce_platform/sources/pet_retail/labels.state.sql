select
    'state' as domain,
    as_text(order_state) as code,
    as_text(state) as label
from bronze.pet_retail__state
