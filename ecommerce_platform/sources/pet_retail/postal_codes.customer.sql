-- The shop has no list of postal codes: one lies where its customers do. Names come in several spellings; the
-- most frequent is taken, of equally frequent ones the first by name, so that the choice never depends on the order of
-- lines.
select
    zip_code as postal_code,
    median(as_double(latitude)) as latitude,
    median(as_double(longitude)) as longitude,
    mode(as_text(order_city) order by as_text(order_city)) as city,
    mode(as_text(order_state) order by as_text(order_state)) as state
from bronze.pet_retail__customer
group by _load_date, zip_code
