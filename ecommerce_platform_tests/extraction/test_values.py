"""Every value arrives as the text that the database's own export would have written."""

from __future__ import annotations

import csv
import io
import subprocess

import pytest

from ecommerce_platform_tests.extraction.conftest import Place


def test_postgresql_values_are_those_of_copy(pg: Place, tmp_path):
    pg.run(
        "create type mood as enum ('good', 'so-so')",
        "create domain price as numeric(12, 4)",
        """create table t (
            id int primary key, small smallint, big bigint, exact numeric, money_like numeric(12, 2), single real,
            double double precision, is_gift boolean, fixed char(6), varying varchar(20), free text, bytes bytea,
            day date, at timestamp, at_zone timestamptz, clock time, clock_zone timetz, span interval, u uuid, j json,
            jb jsonb, numbers int[], texts text[], flags boolean[], m mood, p price, address inet, net cidr, mac macaddr,
            r int4range, bits bit(4), place point, "Mixed; ""odd"" name" text, c "char", worth money, x xml
        )""",
        """insert into t values (
            1, -32768, 9223372036854775807, 12345678901234567890.123456789000, 10.10, 0.1, 0.1, true, 'ab', 'x  ', E'a\\nb"c;d,e\\\\',
            '\\x00ff10', '2024-02-29', '2024-01-01 10:00:00.5', '2024-07-01 10:00:00+00', '23:59:59.999999', '10:00+02',
            '1 year 2 mons -3 days 04:05:06.7', '123e4567-e89b-12d3-a456-426614174000', '{"a":  1.10, "b": [null]}',
            '{"b": 1.10, "a": "ü"}', '{1,NULL,3}', '{"a b",NULL,"c\\"d"}', '{t,f}', 'so-so', 1.5, '10.0.0.1', '10.0.0.0/8',
            '08:00:2b:01:02:03', '[1,5)', '1010', '(1.5,2)', 'ä€😀', 'q', 1234.5, '<a>b</a>')""",
        "insert into t (id) values (2)",
        """insert into t (id, exact, single, double, is_gift, fixed, varying, free, day, at, at_zone, bytes) values
            (3, 'NaN', 'Infinity', '-Infinity', false, '', '', '', 'infinity', '-infinity', 'infinity', ''),
            (4, -0.00, 1e20, 1e-7, null, '  x', ' ', E'\\t', '0044-03-15 BC', '9999-12-31 23:59:59.999999', '1900-01-01 00:00:00+00', null)""",
    )
    pg.declare("t")
    found = pg.one()
    assert (found.rows, found.file is not None) == (4, True)
    exported = subprocess.run(
        ["psql", pg.server.url_of(pg.database), "-q", "-c",
         "set timezone = 'Europe/Berlin'; copy (select * from t order by id) to stdout (format csv, null '⌀')"],
        env={"PGOPTIONS": "-c datestyle=ISO -c intervalstyle=postgres", "PATH": "/usr/bin:/bin:/usr/local/bin"}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    expected = [tuple(None if v == "⌀" else v for v in row) for row in csv.reader(io.StringIO(exported, newline=""))]
    got = pg.rows("t")
    names = [name for (name,) in pg.run("select attname::text from pg_attribute where attrelid = 't'::regclass and attnum > 0 order by attnum")]  # fmt: skip
    for want, row in zip(expected, got, strict=True):
        for name, a, b in zip(names, want, row, strict=True):
            assert b == a, name


def test_mysql_values_are_what_the_server_shows_and_exact(my: Place):
    my.run(
        """create table t (
            id int primary key, tiny tinyint(1), big bigint unsigned, exact decimal(30, 10), single float, single2 float(10, 2),
            double_ double, padded char(6), vary varchar(20), latin varchar(20) character set latin1, free text, bytes varbinary(8),
            blob_ blob, bits bit(10), day date, at datetime, at_ms datetime(3), at_zone timestamp(3) null, clock time, y year,
            e enum('a', 'b'), s set('x', 'y'), j json, `odd `` name` int, p point
        )""",
        """insert into t values (
            1, 1, 18446744073709551615, 12345678901234567890.1234567890, 1234567.9, 1234.5, 0.1, 'ab', 'x  ', 'é', 'a\\nb"c;d,ü€😀',
            x'00ff', x'c3a4', b'1000000001', '2024-02-29', '2024-01-01 10:00:00', '2024-01-01 10:00:00.500', '2024-07-01 10:00:00.250',
            '-12:30:00', 2024, 'a', 'x,y', '{"a": 1.10}', 7, point(1.5, 2))""",
        "insert into t (id) values (2)",
        "set session sql_mode = ''",
    )
    # A connection of its own, for the mode that lets such dates in.
    con = my.server.connect(my.database)
    with con.cursor() as cursor:
        cursor.execute("set sql_mode = '', time_zone = '+00:00'")
        cursor.execute(
            "insert into t (id, single, double_, day, at, at_zone, bytes) values "
            "(3, 0.1, 1e300, '0000-00-00', '0000-00-00 00:00:00', '2024-10-27 00:30:00', ''), (4, -1e-10, -0.5, '1000-01-01', '9999-12-31 23:59:59', '2024-10-27 01:30:00', null)"
        )
        cursor.execute("update t set at_zone = '2024-07-01 10:00:00.250' where id = 1")
    con.close()
    my.declare("t")
    my.one()
    rows = my.rows("t")
    assert rows[0] == (
        "1", "1", "18446744073709551615", "12345678901234567890.1234567890", "1234567.9", "1234.50", "0.1", "ab", "x  ", "é",
        'a\nb"c;d,ü€😀', "0x00FF", "0xC3A4", "513", "2024-02-29", "2024-01-01 10:00:00", "2024-01-01 10:00:00.500",
        "2024-07-01 12:00:00.250", "-12:30:00", "2024", "a", "x,y", '{"a": 1.10}', "7", "POINT(1.5 2)",
    )  # fmt: skip
    assert rows[1] == ("2", *[None] * 24)
    assert [r[4] for r in rows[2:]] == ["0.1", "-1e-10"]
    assert [r[6] for r in rows[2:]] == ["1e300", "-0.5"]
    assert [r[11] for r in rows[2:]] == ["0x", None]
    assert [r[14:16] for r in rows[2:]] == [
        ("0000-00-00", "0000-00-00 00:00:00"),
        ("1000-01-01", "9999-12-31 23:59:59"),
    ]
    # Both are half past two in Berlin, where the clock went back in between.
    assert [r[17] for r in rows[2:]] == ["2024-10-27 02:30:00.000", "2024-10-27 02:30:00.000"]


def test_sqlite_values_are_text_whatever_the_column_says(lite: Place):
    lite.run(
        "create table t (id integer primary key, n numeric, v, d date)",
        "insert into t values (1, 10.10, 'ä', '2024-01-01'), (2, 3, 0.1, null), (3, 9007199254740993, x'00ff', ''), "
        "(4, 1e300, 'x' || char(10), 20240101)",
    )
    lite.declare("t")
    lite.one()
    assert lite.rows("t") == [
        ("1", "10.1", "ä", "2024-01-01"), ("2", "3", "0.1", None), ("3", "9007199254740993", "0x00FF", ""),
        ("4", "1e+300", "x\n", "20240101"),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 12_345])
def test_all_rows_arrive_in_the_order_of_the_key(place: Place, rows: int):
    place.run("create table t (id integer primary key, v varchar(50))")
    values = ", ".join(f"({(n * 7919) % 1_000_003}, 'v{n}')" for n in range(rows))
    place.run(f"insert into t values {values}")
    place.declare("t")
    assert place.one().rows == rows
    got = place.rows("t")
    assert got == sorted(((str((n * 7919) % 1_000_003), f"v{n}") for n in range(rows)), key=lambda r: int(r[0]))


def test_rows_of_any_width_are_held_in_bounded_lots(my: Place):
    my.run("create table t (id int primary key, v longtext)", "set global max_allowed_packet = 67108864")
    my.run("insert into t select seq, repeat('x', if(seq % 40 = 0, 2000000, 10)) from seq_1_to_1000")
    my.declare("t")
    my.one()
    import pyarrow.parquet as pq

    (file,) = my.files("t")
    found = pq.ParquetFile(file.path)
    sizes = [found.metadata.row_group(n).total_byte_size for n in range(found.metadata.num_row_groups)]
    assert found.metadata.num_rows == 1000
    assert len(sizes) > 1
    groups = [
        sum(len(v) for v in found.read_row_group(n)["v"].to_pylist()) for n in range(found.metadata.num_row_groups)
    ]
    assert max(groups) < 64 << 20
