"""What is delivered as CSV arrives in bronze value by value, however it is written."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform_tests.ingestion.conftest import DAY, Bench


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\n1,a\n2,b\n",
        b"id,name\n1,a\n2,b",
        b"id,name\r\n1,a\r\n2,b\r\n",
        b"id,name\r1,a\r2,b\r",
        b"\xef\xbb\xbfid,name\r\n1,a\r\n2,b\r\n",
        b"id;name\n1;a\n2;b\n",
        b"id\tname\n1\ta\n2\tb\n",
        b"id|name\n1|a\n2|b\n",
        b'"id","name"\n"1","a"\n"2","b"\n',
        b" id , name \n1,a\n2,b\n",
        b"\n\nid,name\n1,a\n2,b\n",
        b"id,name\n\n1,a\n\n\n2,b\n\n\n",
        b"id,name\n1,a\r\n2,b\n",
        b"id,name\n1,a,\n2,b,,\n",
        b"sep=;\r\nid;name\r\n1;a\r\n2;b\r\n",
        "id,name\n1,a\n2,b\n".encode("utf-16"),
        b"\xfe\xff" + "id,name\r\n1,a\r\n2,b\r\n".encode("utf-16-be"),
        gzip.compress(b"id,name\n1,a\n2,b\n", mtime=0),
        gzip.compress(b"id,name\n1,a\n", mtime=0) + gzip.compress(b"2,b\n", mtime=0),
        gzip.compress("id;name\n1;a\n2;b\n".encode("utf-16"), mtime=0),
    ],
)
def test_however_a_table_is_written_its_rows_are_the_same(bench: Bench, content: bytes):
    file = bench.load_one(content)
    assert bench.rows("id, name, _load_date, _source_file, _source_row") == [
        ("1", "a", DAY, "t.csv", 1),
        ("2", "b", DAY, "t.csv", 2),
    ]
    assert (file.format, file.rows, file.rejected, file.problem) == ("csv", 2, 0, None)


def test_values_are_text_as_delivered_and_empty_is_null(bench: Bench):
    bench.load_one('a,b,c,d\n007, x ,1.50,NULL\n"",,"say ""hi""","two\r\nlines"\ntrue,2024-05-01,1e3,"a,b"\n')
    assert bench.rows() == [
        ("007", " x ", "1.50", "NULL"),
        (None, None, 'say "hi"', "two\r\nlines"),
        ("true", "2024-05-01", "1e3", "a,b"),
    ]
    types = bench.con.execute("select distinct column_type from (describe select a, b, c, d from bronze.shop__t)")
    assert types.fetchall() == [("VARCHAR",)]


@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", "Åå"), ("cp1252", "50 €"), ("shift_jis", "注文"), ("utf-16-le", "é")]
)
def test_a_declared_encoding_is_read(bench: Bench, encoding: str, text: str):
    bench.fields["encoding"] = encoding
    bench.load_one(f"id,{text}\n1,{text}\n".encode(encoding))
    assert bench.rows(f'id, "{text}"') == [("1", text)]


def test_a_declared_delimiter_is_not_guessed(bench: Bench):
    bench.fields["delimiter"] = "¦"
    bench.load_one("a,b¦c\n1,2¦3\n4¦5\n6¦7¦8\n")
    assert bench.rows('"a,b", c') == [("1,2", "3"), ("4", "5")]
    assert bench.rejects("line, reason_code") == [(4, "column_count")]


def test_columns_that_mappings_name_decide_between_delimiters(bench: Bench):
    bench.load_one("a,b;c,d;e,f\n1,2;3,4;5,6\n", expected=["c,d"])
    assert bench.rows('"a,b", "c,d", "e,f"') == [("1,2", "3,4", "5,6")]


def test_column_names_may_be_anything(bench: Bench):
    bench.load_one('Order ID,order id,select,"a ""b""",,_load_date,_Row_Hash,Größe,x.y\n1,2,3,4,5,6,7,8,9\n')
    columns = [name for (name,) in bench.con.execute("select column_name from (describe bronze.shop__t)").fetchall()]
    assert columns[4:] == [
        "Order ID", "order id_2", "select", 'a "b"', "column_5", "_load_date_2", "_Row_Hash_2", "Größe", "x.y",
    ]  # fmt: skip
    assert bench.rows() == [tuple("123456789")]


def test_reordered_added_and_missing_columns_find_their_place(bench: Bench):
    bench.drop("id,name\n1,a\n", "t1.csv")
    bench.drop("name,id\nb,2\n", "t2.csv")
    bench.drop("id,name,city\n3,c,Rome\n", "t3.csv")
    bench.drop("ID\n4\n", "t4.csv")
    load = bench.load(expected=["id", "email"])
    assert bench.rows("id, name, city, email, _source_file") == [
        ("1", "a", None, None, "t1.csv"),
        ("2", "b", None, None, "t2.csv"),
        ("3", "c", "Rome", None, "t3.csv"),
        ("4", None, None, None, "t4.csv"),
    ]
    assert load.columns_added == ("id", "name", "city", "email")


def test_the_row_hash_does_not_depend_on_the_order_of_columns(bench: Bench):
    bench.drop("id,name\n1,a\n2,b\n", "t1.csv")
    bench.drop("name,id\na,1\nx,2\n", "t2.csv")
    bench.load()
    (first, second, third, fourth) = (h for (h,) in bench.rows("_row_hash"))
    assert first == third
    assert second != fourth


def test_rows_are_numbered_per_file_in_the_order_of_the_file(bench: Bench):
    for number in range(20):
        lines = "".join(f"{number},{row}\n" for row in range(1, 2_000 + number))
        bench.drop("file,row\n" + lines, f"t_{number:02}.csv", DAY + timedelta(number % 3))
    bench.load()
    wrong = bench.con.execute(
        "select count(*) from bronze.shop__t where row <> _source_row::varchar or file::int <> _source_file[3:4]::int"
    ).fetchone()
    assert wrong == (0,)
    assert bench.con.execute("select count(*), count(distinct (file, _source_row)) from bronze.shop__t").fetchone() == (
        20 * 1_999 + 190,
        20 * 1_999 + 190,
    )


def test_a_large_file_is_numbered_in_order_though_it_is_read_in_parallel(bench: Bench):
    bench.drop("")
    bench.con.execute(
        f"copy (select i as row, md5(i::varchar) as text from range(1, 1000001) as r(i)) to '{bench.raw}/{DAY}/t.csv'"
    )
    bench.load()
    assert bench.con.execute(
        "select count(*), count(*) filter (row <> _source_row::varchar) from bronze.shop__t"
    ).fetchone() == (1_000_000, 0)


def test_paths_with_wildcards_and_hive_names_are_taken_literally(bench: Bench):
    bench.folder = bench.folder / "data [old]*?" / "day=1"
    bench.drop("id,n\n1,1\nbad\n", "t[1]*.csv")
    bench.drop("id,n\n2,2\n", "t1x.csv")
    bench.load()
    assert bench.rows("id, _source_file") == [("2", "t1x.csv"), ("1", "t[1]*.csv")]
    assert bench.rejects("_source_file, line") == [("t[1]*.csv", 3)]


def test_a_relative_data_folder_works(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(bench.folder)
    bench.folder = Path("./here/../data")
    Path("here").mkdir()
    bench.drop("id,n\n1,1\nbad\n")
    bench.load()
    assert (bench.rows("id"), bench.rejects("line")) == ([("1",)], [(3,)])


TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), max_size=8
) | st.text('a ",;\n\r\t|', max_size=6)
NAMES = st.lists(
    st.text("abcXYZ_ -.é", min_size=1, max_size=5).map(str.strip).filter(bool),
    min_size=1,
    max_size=5,
    unique_by=str.lower,
)


@st.composite
def deliveries(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(NAMES)
    return {
        "names": names,
        "files": [
            (draw(st.permutations(range(len(names)))), draw(st.lists(st.tuples(*[TEXT] * len(names)), max_size=6)))
            for _ in range(draw(st.integers(1, 3)))
        ],
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "terminator": draw(st.sampled_from(["\n", "\r\n"])),
        "gzip": draw(st.booleans()),
    }


@given(deliveries())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_table_written_as_csv_comes_back_with_its_provenance(delivery: dict[str, Any]):
    names = delivery["names"]
    expected = []
    contents: dict[bytes, str] = {}
    with TemporaryDirectory() as folder, duckdb.connect() as con:
        bench = Bench(Path(folder), con, {"delimiter": delivery["delimiter"]})
        for number, (order, rows) in enumerate(delivery["files"]):
            text = io.StringIO(newline="")
            # Python quotes a line break only when it is the writer's own; a reader has to see it quoted.
            writer = csv.writer(
                text, delimiter=delivery["delimiter"], quoting=delivery["quoting"], lineterminator="\r\n"
            )
            writer.writerow([names[i] for i in order])
            writer.writerows([[row[i] for i in order] for row in rows])
            content = text.getvalue()
            if delivery["terminator"] == "\n" and not any("\r" in v or "\n" in v for row in rows for v in row):
                content = content.replace("\r\n", "\n")
            data = content.encode(delivery["encoding"])
            data = gzip.compress(data, mtime=0) if delivery["gzip"] else data
            bench.drop(data, f"t{number}.csv")
            if contents.setdefault(data, f"t{number}.csv") != f"t{number}.csv":
                continue  # the same bytes as a file before it
            expected += [
                (*(value or None for value in row), f"t{number}.csv", position)
                for position, row in enumerate(rows, start=1)
            ]
        load = bench.load()
        selected = ", ".join(f'"{name}"' for name in names)
        assert bench.rows(f"{selected}, _source_file, _source_row") == expected
        assert load.rows_rejected == 0
        assert load.problems == []
        used_once = [name for name, note in load.notes if "the same bytes" in note]
        assert len(used_once) == len(delivery["files"]) - len(contents)


def test_scratch_is_left_as_it_was(bench: Bench):
    bench.load_one(gzip.compress(b"id\n1\n", mtime=0))
    assert list((bench.folder / "scratch").iterdir()) == []
    shutil.rmtree(bench.folder / "scratch")
    assert bench.load([DAY, date(2024, 5, 9)]).rows_inserted == 1
