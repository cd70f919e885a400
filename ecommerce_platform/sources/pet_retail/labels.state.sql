select
    'state' as domain,
    as_text(order_state) as code,
    as_text(state) as label,
    as_text(state_abbreviation) as short_label,
    as_text(region) as group_label
from bronze.pet_retail__state
