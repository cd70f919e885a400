-- What records are compared by: names, addresses, dates and numbers without the habits of whoever wrote them.
-- Reads `customers`; everything here depends on the record alone, never on other records.
with folded as (

    select
        customer_id,
        birth_date,
        -- All texts at once, in lower case without accents (the German way: ü is ue).
        string_split(
            strip_accents(
                replace(
                    replace(
                        replace(
                            replace(
                                replace(
                                    lower(
                                        concat(
                                            full_name,
                                            chr(31),
                                            given_name,
                                            chr(31),
                                            family_name,
                                            chr(31),
                                            street,
                                            chr(31),
                                            house_number,
                                            chr(31),
                                            city,
                                            chr(31),
                                            state
                                        )
                                    ),
                                    'ä',
                                    'ae'
                                ),
                                'ö',
                                'oe'
                            ),
                            'ü',
                            'ue'
                        ),
                        'ß',
                        'ss'
                    ),
                    'ı',
                    'i'
                )
            ),
            chr(31)
        ) as texts,
        lower(trim(email)) as email,
        ltrim(regexp_replace(phone, '\D', '', 'g'), '0') as phone,
        upper(regexp_replace(postal_code, '\s', '', 'g')) as postal_code,
        upper(regexp_replace(personal_number, '[^\p{L}\p{N}]', '', 'g')) as personal_number
    from customers

),

-- Names without titles and anything but letters, comma and hyphen.
named as (

    select
        * exclude (texts, swapped),
        list_transform(
            texts[1:3],
            lambda text: trim(
                regexp_replace(
                    regexp_replace(text, '\b(dr|prof|mr|mrs|ms|herr|frau|sr|sra|mme)\b\.?', ' ', 'g'),
                    '[^\p{L},-]+',
                    ' ',
                    'g'
                )
            )
        ) as names,
        -- A street without letters and a number without digits have changed places.
        trim(regexp_replace(texts[if(swapped, 5, 4)], '[^\p{L}\p{N}]+', ' ', 'g')) as street,
        regexp_replace(texts[if(swapped, 4, 5)], '[^\p{L}\p{N}]+', '', 'g') as house_number,
        nullif(regexp_replace(texts[6], '[^\p{L}]+', '', 'g'), '') as city,
        nullif(regexp_replace(texts[7], '[^\p{L}\p{N}]+', '', 'g'), '') as state
    from (
        select
            *,
            regexp_full_match(texts[4], '\s*\d+\s*[a-z]?\s*')
            and not regexp_matches(texts[5], '\d')
            and length(texts[5]) > 2
                as swapped
        from folded
    ) as folded

),

-- `Müller, Anna` is `Anna Müller`; `12 Main Street` and `Hauptstraße 12 a` say the number, too.
ordered as (

    select
        * exclude (names, street, house_number),
        names[2] as given_name,
        names[3] as family_name,
        trim(
            case
                when contains(names[1], ',')
                    then concat_ws(' ', trim(split_part(names[1], ',', 2)), trim(split_part(names[1], ',', 1)))
                else names[1]
            end
        ) as name,
        case
            when house_number <> '' then house_number
            else
                replace(
                    concat(
                        regexp_extract(street, '^(\d+ ?[a-z]?) ', 1), regexp_extract(street, ' (\d+( ?[a-z])?)$', 1)
                    ),
                    ' ',
                    ''
                )
        end as house_number,
        case
            when house_number <> '' then street
            else regexp_replace(regexp_replace(street, '^\d+ ?[a-z]? ', ''), ' \d+( ?[a-z])?$', '')
        end as street
    from named

),

-- Names in parts are believed before those in one piece.
parted as (

    select
        * exclude (name, given_name, family_name),
        nullif(
            trim(
                split_part(
                    case when given_name <> '' or family_name <> '' then replace(given_name, ',', ' ') else name end,
                    ' ',
                    1
                ),
                '-'
            ),
            ''
        ) as first_name,
        nullif(
            trim(
                case
                    when
                        given_name <> '' or family_name <> ''
                        then split_part(trim(replace(family_name, ',', ' ')), ' ', -1)
                    when contains(name, ' ') then split_part(name, ' ', -1)
                end,
                '-'
            ),
            ''
        ) as last_name
    from ordered

)

select
    customer_id,
    first_name,
    last_name,
    -- What names are looked up by: a first letter and the consonants, whatever their order and most of their spelling.
    left(last_name, 1) || translate(
        regexp_replace(replace(replace(substr(last_name, 2), 'ph', 'f'), 'ck', 'k'), '[aeiouyhw-]', '', 'g'),
        'czvdb',
        'ksftp'
    ) as last_key,
    least(left(first_name, 1), left(last_name, 1)) || greatest(left(first_name, 1), left(last_name, 1)) as initials,
    least(first_name, last_name) || ' ' || greatest(first_name, last_name) as both_names,
    -- What forms fill in when nobody does is no birth date.
    case
        when birth_date not in (date '1900-01-01', date '1901-01-01', date '1970-01-01') then birth_date
    end as birth_date,
    case when email like '%_@_%' then email end as email,
    -- The last eight digits: country codes and leading zeros are written in many ways.
    case
        when length(phone) >= 7 and not regexp_full_match(phone, '(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)') then right(phone, 8)
    end as phone,
    case
        when length(personal_number) >= 5 and not regexp_full_match(personal_number, '(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)')
            then personal_number
    end as personal_number,
    nullif(
        replace(
            regexp_replace(
                regexp_replace(regexp_replace(street, '(strasse|str)\b', 'str', 'g'), '\bstreet$', 'st'),
                '\broad$',
                'rd'
            ),
            ' ',
            ''
        ),
        ''
    ) as street,
    nullif(house_number, '') as house_number,
    nullif(postal_code, '') as postal_code,
    city,
    state
from parted
