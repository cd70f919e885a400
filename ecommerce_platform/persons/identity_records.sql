-- What records are compared by: names, addresses for mail and numbers without the habits of whoever wrote them.
-- Reads `customers`; everything here depends on the record alone, never on other records.
with folded as (

    select
        customer_id,
        birth_date,
        -- Lower case without accents (the German way: ü is ue), titles and anything but letters, comma and hyphen.
        trim(
            regexp_replace(
                regexp_replace(
                    strip_accents(
                        replace(
                            replace(
                                replace(replace(replace(lower(full_name), 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue'), 'ß', 'ss'
                            ),
                            'ı',
                            'i'
                        )
                    ),
                    '\b(dr|prof|mr|mrs|ms|herr|frau|sr|sra|mme)\b\.?',
                    ' ',
                    'g'
                ),
                '[^\p{L},-]+',
                ' ',
                'g'
            )
        ) as name,
        lower(trim(email)) as email,
        ltrim(regexp_replace(phone, '\D', '', 'g'), '0') as phone,
        upper(regexp_replace(postal_code, '\s', '', 'g')) as postal_code
    from customers

),

-- `Müller, Anna` is `Anna Müller`.
ordered as (

    select
        * exclude (name),
        trim(
            case
                when contains(name, ',') then concat_ws(' ', trim(split_part(name, ',', 2)), trim(split_part(name, ',', 1)))
                else name
            end
        ) as name
    from folded

)

select
    customer_id,
    nullif(trim(split_part(name, ' ', 1), '-'), '') as first_name,
    case when contains(name, ' ') then split_part(name, ' ', -1) end as last_name,
    -- What forms fill in when nobody does is no birth date.
    case
        when birth_date not in (date '1900-01-01', date '1901-01-01', date '1970-01-01') then birth_date
    end as birth_date,
    case when email like '%_@_%' then email end as email,
    -- The last eight digits: country codes and leading zeros are written in many ways.
    case when length(phone) >= 7 and not regexp_full_match(phone, '(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)') then right(phone, 8) end as phone,
    nullif(postal_code, '') as postal_code
from ordered
