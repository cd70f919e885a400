select
    as_text(zip) as postal_code,
    as_double(lat) as latitude,
    as_double(lng) as longitude,
    as_text(town) as city,
    as_text(state) as state,
    as_text(area) as region
from bronze.synthetic__postal_codes
