-- Many measured points share a prefix: the middle of them stands for it. A city's name comes in several
-- spellings; the last one in the alphabet is taken so that the choice never depends on the order of lines.
select
    as_text(geolocation_zip_code_prefix) as postal_code,
    median(as_double(geolocation_lat)) as latitude,
    median(as_double(geolocation_lng)) as longitude,
    max(as_text(geolocation_city)) as city,
    max(as_text(geolocation_state)) as state,
    max(as_text(geolocation_state)) as region
from bronze.olist__geolocation
group by _load_date, as_text(geolocation_zip_code_prefix)
