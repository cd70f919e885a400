-- The only ways in which a mapping turns delivered text into typed values.
--
-- Every macro returns null for text it cannot convert; the runner then rejects the row, naming column and value,
-- so a bad value never silently becomes null. An empty text is null and no error.
-- Nothing is guessed: a date with an offset, a number with a unit or a fraction where an integer is asked for are
-- errors, because dropping that part would change the value.

-- Trimmed text; empty becomes null.
create or replace macro as_text(x) as nullif(trim(x), '');

-- An id that may have passed through a column of numbers: 17850.0 becomes 17850; any other text stays as it is.
create or replace macro as_id(x) as
    case when regexp_full_match(as_text(x), '\d+\.0+') then split_part(as_text(x), '.', 1) else as_text(x) end;

-- A whole number: 12, -3 and 12.0, but neither 12.5 nor 1e3.
create or replace macro as_bigint(x) as
    case
        when strpos(x, '.') = 0 and strpos(x, '_') = 0 and strpos(lower(x), 'e') = 0 then try_cast(as_text(x) as bigint)
        when regexp_full_match(as_text(x), '[+-]?\d+\.0*') then try_cast(split_part(as_text(x), '.', 1) as bigint)
    end;

create or replace macro as_integer(x) as try_cast(as_bigint(x) as integer);

-- Money and other exact amounts with a decimal point, to four places; further places are rounded.
create or replace macro as_decimal(x) as
    case when strpos(x, '_') = 0 then try_cast(as_text(x) as decimal(18, 4)) end;

-- An exchange rate with a decimal point, to ten places.
create or replace macro as_rate(x) as
    case when strpos(x, '_') = 0 then try_cast(as_text(x) as decimal(20, 10)) end;

-- Amounts again, with a decimal comma: 1.234,56 and 1234,56.
create or replace macro as_decimal_comma(x) as
    case
        when regexp_full_match(as_text(x), '[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?')
            then try_cast(replace(replace(as_text(x), '.', ''), ',', '.') as decimal(18, 4))
    end;

-- Amounts in JSON, added up: as_decimal_sum(taxes, '$[*]', '$.price'), and of the elements alone that hold something:
-- as_decimal_sum(payments, '$[*]', '$.amount', '{"kind": "refund"}'). No element, and none with an amount, is 0.
create or replace macro texts_in(x, elements, amount, holding) as
    [
        as_text(json_extract_string(e, amount))
        for e in cast(try(json_extract(cast(nullif(x, '') as varchar), elements)) as json[])
        if json_contains(e, holding)
    ];
create or replace macro sum_of_texts(texts) as
    case
        when list_bool_and([t is null or as_decimal(t) is not null for t in texts]) is not false and texts is not null
            then coalesce(list_sum([as_decimal(t) for t in texts]), 0)
    end;
create or replace macro as_decimal_sum(x, elements, amount) as sum_of_texts(texts_in(x, elements, amount, '{}')),
(x, elements, amount, holding) as sum_of_texts(texts_in(x, elements, amount, holding));

-- A measure such as a coordinate or a weight; neither nan nor infinity.
create or replace macro as_double(x) as
    case when strpos(x, '_') = 0 and isfinite(try_cast(as_text(x) as double)) then try_cast(as_text(x) as double) end;

create or replace macro as_boolean(x) as
    case
        when lower(as_text(x)) in ('true', 't', 'yes', 'y', '1') then true
        when lower(as_text(x)) in ('false', 'f', 'no', 'n', '0') then false
    end;

-- ISO 8601 local time: 2018-01-31, 2018-01-31 10:30, 2018-01-31T10:30:00.123. No offset and no Z.
create or replace macro as_timestamp(x) as
    case
        when as_text(x) < ':' and strpos(x, '+') = 0 and strpos(substr(as_text(x), 11), '-') = 0
            and strpos(upper(x), 'Z') = 0
            then try_cast(as_text(x) as timestamp)
    end;

create or replace macro as_timestamp_format(x, format) as try_strptime(as_text(x), format);

-- Moments, on the shop's clock. A mapping writes neither `zone`, the shop's, which source.yml names, nor the second
-- argument where every text says its offset: as_local_timestamp(x), or as_local_timestamp(x, 'UTC') where a time without
-- an offset is one of that zone. What is called twice on a clock set back and never on one set forward stands in
-- docs/times.md.

-- The moment `utc` of UTC on the clock of `zone`, and the other way round.
create or replace macro from_utc(utc, zone) as timezone(zone, timezone('UTC', utc));
create or replace macro to_utc(clock, zone) as timezone('UTC', timezone(zone, clock));

-- What stands before the offset, and the offset as an interval: Z, UTC and GMT, +02:00, +0200, +02, with a blank or none.
create or replace macro before_offset(x) as
    regexp_extract(upper(as_text(x)), '^(.{10}[T ]+[0-9:.]+) ?(Z|UTC|GMT|[+-][01][0-9](:?[0-5][0-9])?)$', 1);
create or replace macro offset_minutes(x) as
    case
        when regexp_matches(upper(as_text(x)), '(Z|UTC|GMT)$') then 0
        else (case when regexp_matches(as_text(x), '-[0-9:]+$') then -1 else 1 end)
            * (
                cast(regexp_extract(as_text(x), '[+-]([0-9]{2}):?([0-9]{2})?$', 1) as integer) * 60
                + coalesce(try_cast(regexp_extract(as_text(x), '[+-]([0-9]{2}):?([0-9]{2})?$', 2) as integer), 0)
            )
    end;

create or replace macro with_offset(x, zone) as
    case
        when before_offset(x) <> ''
            then from_utc(as_timestamp(before_offset(x)) - to_minutes(offset_minutes(x)), zone)
    end;

-- 2023-10-28T22:30:00Z, 2023-10-28 22:30:00 +0200, 2023-10-28 22:30 UTC. A day alone is no moment.
create or replace macro as_local_timestamp(x, zone) as with_offset(x, zone),
(x, written, zone) as
    case
        when before_offset(x) <> '' then with_offset(x, zone)
        when length(as_text(x)) > 10 then from_utc(to_utc(as_timestamp(x), written), zone)
    end;

-- The same in a format without offset: as_local_timestamp_format(x, '%d.%m.%Y %H:%M', 'UTC').
create or replace macro as_local_timestamp_format(x, format, written, zone) as
    from_utc(to_utc(as_timestamp_format(x, format), written), zone);

-- Seconds since 1970, as_local_timestamp_epoch(x); with a second argument so many parts of one: 1000, 1000000.
create or replace macro as_local_timestamp_epoch(x, zone) as
    case
        when try_cast(as_text(x) as decimal(20, 6)) between -62135596800 and 253402300799
            then from_utc(make_timestamp(cast(try_cast(as_text(x) as decimal(20, 6)) * 1000000 as bigint)), zone)
    end,
(x, parts, zone) as
    case
        when as_bigint(x) // parts between -62135596800 and 253402300799
            then from_utc(make_timestamp(as_bigint(x) * (1000000 // parts)), zone)
    end;

-- A day: 2018-01-31, also with a time of midnight behind it.
create or replace macro as_date(x) as
    case when as_timestamp(x) = date_trunc('day', as_timestamp(x)) then cast(as_timestamp(x) as date) end;

create or replace macro as_date_format(x, format) as cast(try_strptime(as_text(x), format) as date);

-- A line's part of an amount of the whole order, by the lines' amounts: the parts add up to the amount, to the last digit.
-- upto: the sum of the lines' amounts to this one; whole: of all. Where that is 0, the first line takes it all.
create or replace macro part_of(amount, part, upto, whole, line_number) as
    case
        when whole = 0 then case when line_number = 1 then amount else 0 end
        else round(amount * upto / whole, 4) - round(amount * (upto - part) / whole, 4)
    end;
