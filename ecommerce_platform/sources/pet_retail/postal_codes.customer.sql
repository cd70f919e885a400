-- The shop has no list of postal codes: one lies where its customers do. Names come in several spellings; the last in
-- the alphabet is taken so that the choice never depends on the order of lines.
select
    case
        when regexp_matches(as_text(order_postal), '^[0-9]{3,5}(-[0-9]{4})?$')
            then lpad(split_part(as_text(order_postal), '-', 1), 5, '0')
        else as_text(order_postal)
    end as postal_code,
    median(as_double(latitude)) as latitude,
    median(as_double(longitude)) as longitude,
    max(as_text(order_city)) as city,
    max(as_text(order_state)) as state
from bronze.pet_retail__customer
group by
    _load_date,
    case
        when regexp_matches(as_text(order_postal), '^[0-9]{3,5}(-[0-9]{4})?$')
            then lpad(split_part(as_text(order_postal), '-', 1), 5, '0')
        else as_text(order_postal)
    end
