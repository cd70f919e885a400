"""Of a faulty file only what is wrong is lost, and it is said what and where."""

from __future__ import annotations

import gzip
import random
import zipfile
from io import BytesIO

import pytest

from ecommerce_platform.ingestion import salvage
from ecommerce_platform_tests.ingestion.conftest import Bench

HEADER = b"id,name,amount\n"


def good(start: int, stop: int) -> bytes:
    return b"".join(b"%d,name %d,%d.50\n" % (i, i, i) for i in range(start, stop))


def ids(bench: Bench) -> list[int]:
    return [int(id) for (id,) in bench.rows("id")]


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_a_problem_but_no_reject(bench: Bench, content: bytes):
    file = bench.load_one(content)
    assert (file.rows, file.rejected, file.format, file.note) == (0, 0, None, False)
    assert file.problem in ("the file is empty", "the file holds nothing but blanks")
    assert bench.rows("_source_row") == []


@pytest.mark.parametrize("content", [b"id,name", b"id,name\r\n", gzip.compress(b"id,name\n", mtime=0)])
def test_a_header_only_is_a_note(bench: Bench, content: bytes):
    file = bench.load_one(content)
    assert (file.rows, file.rejected, file.format) == (0, 0, "csv")
    assert (file.problem, file.note) == ("note: a header and no records", True)
    assert bench.rows("id, name") == []


def test_of_a_truncated_gzip_everything_that_can_be_unpacked_is_loaded(bench: Bench):
    random.seed(1)
    lines = [b"%d,%d,x" % (i, random.getrandbits(64)) for i in range(20_000)]
    packed = gzip.compress(HEADER + b"\n".join(lines) + b"\n")
    file = bench.load_one(packed[: len(packed) // 2], "t.csv.gz")
    assert ids(bench) == list(range(file.rows))
    assert 8_000 < file.rows < 12_000
    assert "gzip data ends too early" in (file.problem or "")
    (partial, whole) = bench.rejects("line, reason_code, raw_text")
    assert partial == (file.rows + 2, "truncated_file", partial[2])
    assert lines[file.rows].decode().startswith(partial[2])
    assert whole == (None, "truncated_file", None)


def test_of_a_damaged_gzip_what_comes_before_the_damage_is_loaded(bench: Bench):
    packed = bytearray(gzip.compress(HEADER + good(0, 50_000)))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = b"\xff" * 50
    file = bench.load_one(bytes(packed))
    assert 10_000 < file.rows < 50_000
    assert "is damaged" in (file.problem or "")


@pytest.mark.parametrize("size", [5, 20, 60])
def test_a_gzip_that_is_cut_off_in_its_first_bytes_is_unreadable(bench: Bench, size: int):
    file = bench.load_one(gzip.compress(HEADER + good(0, 100))[:size])
    assert (file.rows, file.rejected) == (0, 1)
    assert file.problem


def workbook() -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (workbook(), "workbook cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"%PDF-1.7\n1 0 obj", "PDF"),
        (bytes(range(256)) * 500, "binary"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "web page"),
        (b"id;na\xefme\n1;2\n", "set `encoding`"),
        ("id;name\n1;2\n".encode("utf-16-le"), "utf-16-le"),
        ("id;name\n1;2\n".encode("utf-16-be"), "UTF-16"),
        (bytes(5000), "nothing but zero bytes"),
        (gzip.compress(bytes(5000), mtime=0), "nothing but zero bytes"),
        (b"id\x00\x00\x00\x00\x00\x00\x00\x00" + bytes(100) + b"\n", "is binary"),
        (b"x" * 200_000, "longer than 64 KiB"),
    ],
)
def test_what_is_no_csv_is_one_reject_that_says_what_it_looks_like(bench: Bench, content: bytes, said: str):
    bench.drop(HEADER + good(0, 3), "t0.csv")
    bench.drop(content, "t1.csv")
    (fine, bad) = bench.load().files
    assert fine.problem is None
    assert (bad.rows, bad.rejected, bad.format) == (0, 1, None)
    assert said in (bad.problem or "")
    assert bench.rejects("_source_file, line, reason_code, reason") == [
        ("t1.csv", None, "unreadable_file", bad.problem)
    ]
    assert ids(bench) == [0, 1, 2]


def test_a_missing_required_column_is_a_problem_and_the_rows_are_loaded(bench: Bench):
    file = bench.load_one(
        b"order,amount\n1,2\n", expected=["order_id", "amount"], required={"order_id": "orders.order_id"}
    )
    assert file.problem == "column order_id is missing (needed for orders.order_id); the file has: order, amount"
    assert bench.rows('"order", order_id, amount') == [("1", None, "2")]


def test_of_a_file_without_its_header_the_record_that_stands_there_is_not_shown(bench: Bench):
    file = bench.load_one(
        b"77,Anna Schmidt\n78,Bo Berg\n", expected=["order_id", "name"], required={"order_id": "orders.order_id"}
    )
    assert file.problem == (
        "none of the columns that are read is there, not even order_id (for orders.order_id); is the header missing?"
    )


def test_lines_with_a_wrong_number_of_values_are_rejected_with_their_line(bench: Bench):
    file = bench.load_one(HEADER + b'1,a,1\n2,b\n3,"c\nc",3\n4,d,4,5\n5,e,5\n6\n', expected=["id"])
    assert bench.rows() == [("1", "a", "1"), ("3", "c\nc", "3"), ("5", "e", "5")]
    assert bench.rejects("reject_number, line, reason_code, raw_text") == [
        (1, 3, "column_count", "2,b"),
        (2, 6, "column_count", "4,d,4,5"),
        (3, 8, "column_count", "6"),
    ]
    assert "3 of 6 records cannot be parsed (50.0%" in (file.problem or "")
    assert "line 3: 2 values where the header has 3 columns" in (file.problem or "")


def test_few_rejects_are_tolerated_without_a_problem(bench: Bench):
    file = bench.load_one(HEADER + good(0, 500) + b"only one\n")
    assert (file.rows, file.rejected, file.problem) == (500, 1, None)


def test_bytes_of_another_encoding_reject_their_line_with_a_hint(bench: Bench):
    bench.load_one(HEADER + b'1,caf\xe9,2\n2,caf\xc3\xa9,3\n3,\xff"x,1\n')
    assert bench.rows("id, name") == [("2", "café")]
    assert bench.rejects() == [(2, "bad_encoding", "1,caf�,2"), (4, "bad_encoding", '3,�"x,1')]
    assert "latin-1" in bench.rejects("reason")[0][0]


def test_what_a_declared_encoding_cannot_hold_rejects_its_line(bench: Bench):
    bench.fields["encoding"] = "cp1252"
    bench.load_one(HEADER + b"1,\x80,2\n2,\x81,3\n3,\xe9,4\n")
    assert bench.rows("id, name") == [("1", "€"), ("3", "é")]
    assert bench.rejects("line, reason_code") == [(3, "bad_encoding")]


def test_a_stray_quote_costs_its_own_line_only(bench: Bench):
    bench.load_one(HEADER + good(0, 10) + b'x,"open,1\n' + good(10, 5_000) + b'y,"shut"x,1\n' + good(5_000, 9_000))
    assert ids(bench) == list(range(9_000))
    assert bench.rejects() == [(12, "bad_quote", 'x,"open,1'), (5_003, "bad_quote", 'y,"shut"x,1')]


def test_a_quote_that_closes_much_later_does_not_swallow_the_records_between(bench: Bench):
    bench.load_one(HEADER + b'a,b,"c\n' + good(0, 300) + b'd"\n' + good(300, 310))
    assert ids(bench) == list(range(310))
    assert bench.rejects() == [(2, "bad_quote", 'a,b,"c'), (303, "column_count", 'd"')]


def test_line_breaks_in_quotes_survive_in_a_file_with_faults(bench: Bench):
    text = 'first\r\nsecond, with comma\n\n"third"'
    quoted = text.replace('"', '""').encode()
    bench.load_one(HEADER + b'1,"' + quoted + b'",2\nbroken "quote,x\n"2,3\n' + b'2,"' + quoted + b'",3\r\n')
    assert bench.rows() == [("1", text, "2"), ("2", text, "3")]
    assert bench.rejects("line, reason_code") == [(6, "column_count"), (7, "bad_quote")]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("alphabet", [bytes(range(256)), b'",abc 12\xc3\xa9;', b'"""""",,a'])
def test_garbage_in_the_middle_costs_no_good_line(bench: Bench, seed: int, alphabet: bytes):
    random.seed(seed)
    usable = bytes(set(alphabet) - set(b"\r\n"))
    lines = []
    while len(lines) < 10_000:
        line = bytes(random.choices(usable, k=random.randint(1, 60)))
        # Garbage that happens to be a record would be one.
        if line.count(b",") != 2:
            lines.append(line)
    content = HEADER + good(0, 5_000) + b"\n".join(lines) + b"\n" + good(5_000, 10_000)
    file = bench.load_one(content)
    loaded = [row for row in bench.rows("id, name, amount") if row[1] == f"name {row[0]}"]
    assert [int(row[0]) for row in loaded] == list(range(10_000))
    # Each line of garbage is rejected, or part of a record in quotes that it happens to form with its neighbours.
    accidents = bench.con.execute(
        "select coalesce(sum(1 + length(concat(id, name, amount)) - length(replace(concat(id, name, amount), chr(10), ''))), 0) "
        "from bronze.shop__t where name is distinct from concat('name ', id)"
    ).fetchone()
    spans = bench.con.execute(
        "select sum(1 + length(raw_text) - length(replace(raw_text, chr(10), ''))) from bronze.rejects"
    ).fetchone()
    assert int(accidents[0]) + int(spans[0]) == 10_000
    assert file.problem


@pytest.mark.parametrize("ending", [b"\n", b""])
@pytest.mark.parametrize("start", [b"", b"1,2,", b'1,2,"'])
def test_a_line_of_100_mb_is_rejected_and_nothing_else(bench: Bench, start: bytes, ending: bytes):
    path = bench.drop(HEADER)
    with path.open("ab") as file:
        file.write(good(0, 1_000) + start)
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write((b"\n" + good(1_000, 2_000)) if ending else b"")
    (loaded,) = bench.load().files
    assert ids(bench) == list(range(2_000 if ending else 1_000))
    ((line, code, text),) = bench.rejects()
    assert (line, code, len(text)) == (1_002, "line_too_long", 10_000)
    # It is one record of 2,001, within what is tolerated.
    assert loaded.rejected == 1


@pytest.mark.parametrize("megabytes", [3, 10])
def test_a_long_line_below_the_limit_is_loaded(bench: Bench, megabytes: int):
    text = b"x" * megabytes * 1_000_000
    bench.load_one(HEADER + good(0, 10) + b'10,"' + text + b'",1\n' + good(11, 20))
    assert ids(bench) == list(range(20))
    assert bench.con.execute("select max(length(name)) from bronze.shop__t").fetchone() == (len(text),)
    assert bench.rejects() == []


def test_carriage_returns_within_values_survive(bench: Bench):
    bench.load_one(b"id,name\n1,a\rb\n2,c\n\r,d\n")
    assert bench.rows() == [("1", "a\rb"), ("2", "c"), ("\r", "d")]


def test_faulty_and_good_files_of_a_day_are_told_apart(bench: Bench):
    for number in range(6):
        bad = {1: b"one\n", 3: b'1,"x,2\n', 4: b"a,b,c\r\nd\n"}.get(number, b"")
        first, second = (rows.replace(b"name", b"name %d" % number) for rows in (good(0, 100), good(100, 200)))
        bench.drop(HEADER + first + bad + second, f"t{number}.csv")
    load = bench.load()
    assert [(f.name, f.rows, f.rejected) for f in load.files] == [
        ("t0.csv", 200, 0),
        ("t1.csv", 200, 1),
        ("t2.csv", 200, 0),
        ("t3.csv", 200, 1),
        ("t4.csv", 201, 1),
        ("t5.csv", 200, 0),
    ]
    assert bench.con.execute(
        "select count(distinct (_source_file, _source_row)), max(_source_row) from bronze.shop__t"
    ).fetchone() == (1_201, 201)
    assert bench.con.execute(
        "select count(*) from bronze.shop__t where _source_file <> 't4.csv' and id::int + 1 <> _source_row"
    ).fetchone() == (0,)


def test_a_file_in_which_every_line_is_wrong_keeps_memory_low(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(salvage, "_BLOCK", 1 << 16)
    file = bench.load_one(HEADER + b'x,"\n' * 30_000)
    assert (file.rows, file.rejected) == (0, 30_000)
    assert bench.rejects("line")[-1] == (30_001,)
