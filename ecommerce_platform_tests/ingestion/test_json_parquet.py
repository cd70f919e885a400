"""JSON, JSON lines and Parquet arrive in bronze as text, and are salvaged where they are damaged."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.ingestion import loader
from ecommerce_platform_tests.ingestion.conftest import Bench

RECORDS = [{"id": 1, "name": "a"}, {"id": 2, "name": "b", "city": None}]
LINES = "".join(json.dumps(r) + "\n" for r in RECORDS).encode()


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (LINES, "jsonl"),
        (LINES.rstrip(), "jsonl"),
        (LINES.replace(b"\n", b"\r\n"), "jsonl"),
        (LINES.replace(b"\n", b"\n\n"), "jsonl"),
        (b"\n\n" + LINES + b"\n\n", "jsonl"),
        (b"\xef\xbb\xbf" + LINES, "jsonl"),
        (gzip.compress(LINES, mtime=0), "jsonl"),
        (LINES.decode().encode("utf-16"), "jsonl"),
        (json.dumps(RECORDS).encode(), "json"),
        (json.dumps(RECORDS, indent=2).encode() + b"\n", "json"),
        (b"\xef\xbb\xbf" + json.dumps(RECORDS, indent=2).encode(), "json"),
        (gzip.compress(json.dumps(RECORDS).encode(), mtime=0), "json"),
        ("\n".join(json.dumps(r, indent=1) for r in RECORDS).encode(), "json"),
    ],
)
def test_however_records_are_written_their_rows_are_the_same(bench: Bench, content: bytes, format: str):
    file = bench.load_one(content, "t.json")
    assert bench.rows("id, name, city, _source_file, _source_row") == [
        ("1", "a", None, "t.json", 1),
        ("2", "b", None, "t.json", 2),
    ]
    assert (file.format, file.rows, file.rejected, file.problem) == (format, 2, 0, None)


def test_values_are_text_as_json_has_them(bench: Bench):
    bench.load_one(
        '{"i":12345678901234567890123,"d":1.5,"t":true,"f":false,"n":null,"s":" \\u00e9\\n","e":"",'
        '"o":{"x":[1,null]},"l":[{"a":"b"}]}\n',
        "t.jsonl",
    )
    assert bench.rows() == [
        ("12345678901234567890123", "1.5", "true", "false", None, " é\n", "", '{"x":[1,null]}', '[{"a":"b"}]')
    ]


def test_keys_are_collected_over_all_records_of_all_files(bench: Bench):
    bench.drop("".join(f'{{"id":{i}}}\n' for i in range(5_000)) + '{"late":1,"id":5000}\n', "t1.jsonl")
    bench.drop('[{"other":2}]', "t2.json")
    bench.load(expected=["never"])
    assert bench.con.execute(
        "select count(id), count(late), count(other), count(never) from bronze.shop__t"
    ).fetchone() == (
        5_001,
        1,
        1,
        0,
    )


def test_keys_may_be_anything_and_differ_only_in_case(bench: Bench):
    bench.drop('{"id":1,"ID":2,"a b":3,"a/b":4,"~":5,"":6,"_load_date":7,"q\\"":8}\n', "t1.jsonl")
    bench.drop('{"ID":3}\n', "t2.jsonl")
    bench.drop('{"id":4}\n', "t3.jsonl")
    bench.load()
    assert bench.rows('id, "ID_2", "a b", "a/b", "~", "column_6", "_load_date_2", "q"""') == [
        tuple("12345678"),
        ("3", *[None] * 7),
        ("4", *[None] * 7),
    ]


def test_records_that_cannot_be_read_are_rejected_one_by_one(bench: Bench):
    file = bench.load_one(
        b'{"id":1}\nxx"yy\x00\n{"id":"\xff"}\n[1]\n\n{"id":2,"id":3}\n{"id":4}{"id":5}\n"text"\n{"id":6}\n{"id"',
        "t.jsonl",
    )
    assert bench.rows("id, _source_row") == [("1", 1), ("6", 2)]
    assert bench.rejects() == [
        (2, "not_json", 'xx"yy�'),
        (3, "bad_encoding", '{"id":"�"}'),
        (4, "not_an_object", "[1]"),
        (6, "duplicate_key", '{"id":2,"id":3}'),
        (7, "not_json", '{"id":4}{"id":5}'),
        (8, "not_an_object", '"text"'),
        (10, "not_json", '{"id"'),
    ]
    assert "line 2" in (file.problem or "")


def test_a_faulty_record_in_an_array_costs_itself_only(bench: Bench):
    bench.load_one(
        b'[{"id":1,"lines":[{"k":1},{"k":2}]},\n {"id":2,"x":oops,"lines":[{"k":3},{"k":4}]},\n {"id":3}, 7,\n {"id":4}]',
        "t.json",
    )
    assert [id for (id,) in bench.rows("id")] == ["1", "3", "4"]
    assert bench.rejects() == [
        (2, "not_json", '{"id":2,"x":oops,"lines":[{"k":3},{"k":4}]}'),
        (3, "not_an_object", "7"),
    ]


def test_of_an_array_that_breaks_off_the_whole_records_are_loaded(bench: Bench):
    file = bench.load_one(b'[{"id":1},\n{"id":2},\n{"id":3', "t.json")
    assert [id for (id,) in bench.rows("id")] == ["1", "2"]
    assert bench.rejects("line, reason_code") == [(3, "truncated_file"), (None, "truncated_file")]
    assert "before its array is closed" in (file.problem or "")


def test_of_truncated_gzipped_json_the_whole_records_are_loaded(bench: Bench):
    import random

    random.seed(1)
    records = [{"id": i, "x": random.random()} for i in range(5_000)]
    lines = gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode())
    array = gzip.compress(json.dumps(records).encode(), mtime=0)
    bench.drop(lines[: len(lines) // 2], "t1.jsonl.gz")
    bench.drop(array[: len(array) // 2], "t2.json.gz")
    for file in bench.load().files:
        assert 1_000 < file.rows < 4_000
        assert "gzip data ends too early" in (file.problem or "")
    assert bench.con.execute("select count(*) from bronze.shop__t where id::int + 1 <> _source_row").fetchone() == (0,)


def test_good_and_faulty_files_are_told_apart(bench: Bench):
    bench.drop('[{"id":1}]', "t1.json")
    bench.drop('[{"id":2},', "t2.json")
    bench.drop('[{"id":3}]', "t3.json")
    bench.drop("[]", "t4.json")
    load = bench.load(required={"id": "orders.order_id"})
    assert [(f.rows, f.rejected, f.note) for f in load.files] == [
        (1, 0, False),
        (1, 1, False),
        (1, 0, False),
        (0, 0, True),
    ]
    assert [name for name, _ in load.problems] == ["2024-05-01/t2.json"]


def test_a_record_that_is_too_long_is_rejected(bench: Bench):
    long = b'{"id":1,"x":"' + b"x" * 40_000_000 + b'"}'
    bench.drop(b'{"id":0}\n' + long + b'\n{"id":2}\n', "t1.jsonl")
    bench.drop(b'[{"id":0},\n' + long + b',\n{"id":2}]', "t2.json")
    bench.load()
    assert [id for (id,) in bench.rows("id")] == ["0", "2", "0", "2"]
    assert bench.rejects("line, reason_code, length(raw_text)") == [(2, "line_too_long", 10_000)] * 2


def test_keys_that_are_data_do_not_become_columns(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loader, "MAX_KEYS", 20)
    bench.drop("".join(json.dumps({f"day {i}": i}) + "\n" for i in range(30)), "t1.jsonl")
    bench.drop('{"id":1}\n', "t2.jsonl")
    (odd, fine) = bench.load().files
    assert (odd.rows, odd.rejected, fine.rows) == (0, 1, 1)
    assert "30 different keys" in (odd.problem or "")


def test_json_that_source_yml_declares_as_something_else_is_explained(bench: Bench):
    bench.fields["format"] = "parquet"
    assert "is not Parquet" in (bench.load_one(LINES, "t.json").problem or "")


SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6)
)
RECORD = st.dictionaries(st.text("abcAB /~é\"'", max_size=3), SCALAR, max_size=4)


@given(st.lists(RECORD, max_size=6), st.sampled_from(["lines", "array", "indented"]), st.integers(0, 2))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_records_come_back_from_json(records: list[dict[str, Any]], layout: str, faults: int):
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        bench = Bench(Path(folder), con, {"format": "jsonl" if layout == "lines" else "json"})
        texts = [json.dumps(r, indent=1 if layout == "indented" else None) for r in records]
        texts[1:1] = ["7"] * faults
        content = "\n".join(texts) if layout == "lines" else "[" + ",".join(texts) + "]"
        bench.drop(content, "t.json")
        load = bench.load()
        # What each record holds, whichever columns its keys have been given.
        found = (
            [
                sorted(str(v) for v in row if v is not None)
                for row in bench.rows("_source_row, * exclude (_load_date, _source_file, _source_row, _row_hash)")
            ]
            if records
            else []
        )
        expected = [
            sorted(
                [str(number), *(v if isinstance(v, str) else json.dumps(v) for v in record.values() if v is not None)]
            )
            for number, record in enumerate(records, start=1)
        ]
        assert found == expected
        assert load.rows_rejected == faults * bool(content)


def parquet(bench: Bench, select: str) -> bytes:
    path = bench.folder / "made.parquet"
    bench.con.execute(f"copy ({select}) to '{path}' (format parquet)")
    return path.read_bytes()


def test_parquet_values_are_text(bench: Bench):
    file = bench.load_one(
        parquet(
            bench,
            "select 7 as id, 1.50::decimal(9, 2) as d, date '2024-05-01' as day, true as t, null::int as n, [1, 2] as l",
        ),
        "t.parquet",
    )
    assert bench.rows() == [("7", "1.50", "2024-05-01", "true", None, "[1, 2]")]
    assert (file.format, file.rows, file.problem) == ("parquet", 1, None)


def test_parquet_files_with_other_columns_and_types_load_together(bench: Bench):
    bench.drop(parquet(bench, "select i as id, 'a' as name from range(30000) as r(i)"), "t1.parquet")
    bench.drop(parquet(bench, "select 'b' as name, i::varchar as id from range(10) as r(i)"), "t2.parquet")
    bench.drop(parquet(bench, "select i as id, 1 as extra from range(10) as r(i)"), "t3.parquet")
    bench.drop(gzip.compress(parquet(bench, "select 5 as id"), mtime=0), "t4.parquet.gz")
    bench.drop("id,name\n1,c\n", "t5.csv")
    bench.drop('{"id":1}\n', "t6.jsonl")
    load = bench.load()
    assert [(f.rows, f.format) for f in load.files] == [
        (30_000, "parquet"), (10, "parquet"), (10, "parquet"), (1, "parquet"), (1, "csv"), (1, "jsonl"),
    ]  # fmt: skip
    assert bench.con.execute(
        "select count(*) from bronze.shop__t where _source_file < 't4' and id::int + 1 <> _source_row"
    ).fetchone() == (0,)


def test_damaged_parquet_is_one_reject_and_the_others_load(bench: Bench):
    whole = parquet(bench, "select i as id, md5(i::varchar) as text from range(20000) as r(i)")
    bench.drop(whole, "t1.parquet")
    bench.drop(whole[:5_000], "t2.parquet")
    bench.drop(whole[:5_000] + b"\xff" * 100_000 + whole[105_000:], "t3.parquet")
    bench.drop(gzip.compress(whole)[:3_000], "t4.parquet.gz")
    load = bench.load()
    assert [(f.rows, f.rejected) for f in load.files] == [(20_000, 0), (0, 1), (0, 1), (0, 1)]
    for name, problem in load.problems:
        assert "the Parquet file is damaged" in problem, name
        assert str(bench.folder) not in problem
    assert {code for (code,) in bench.rejects("reason_code")} == {"unreadable_file"}
