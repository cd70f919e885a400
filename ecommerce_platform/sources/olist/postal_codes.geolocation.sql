-- Many measured points share a prefix: the middle of them stands for it. A city's name comes in several
-- spellings, and a few points lie in another state: the most frequent counts, of equally frequent ones the first by
-- name, so that the choice never depends on the order of lines.
select
    as_text(geolocation_zip_code_prefix) as postal_code,
    median(as_double(geolocation_lat)) as latitude,
    median(as_double(geolocation_lng)) as longitude,
    mode(as_text(geolocation_city) order by as_text(geolocation_city)) as city,
    mode(as_text(geolocation_state) order by as_text(geolocation_state)) as state,
    mode(as_text(geolocation_state) order by as_text(geolocation_state)) as region
from bronze.olist__geolocation
group by _load_date, as_text(geolocation_zip_code_prefix)
