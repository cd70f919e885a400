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

-- The same with a decimal comma: 1.234,56 and 1234,56.
create or replace macro as_decimal_comma(x) as
    case
        when regexp_full_match(as_text(x), '[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?')
            then try_cast(replace(replace(as_text(x), '.', ''), ',', '.') as decimal(18, 4))
    end;

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
