"""Values change within a file and nothing else does, as bytes and as what the loader makes of the file."""

from __future__ import annotations

import gzip
import io
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_platform.forgetting.documents import MARKER
from ecommerce_platform.forgetting.rewrite import Edits, Unclear, Unparsable, rewrite, whole_lines
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.ingestion.sniff import Shape, read_head, sniff
from ecommerce_platform_tests.ingestion.conftest import Bench

DAY = date(2024, 5, 1)


def shop(folder: Path, **fields: Any) -> Bench:
    con = duckdb.connect(":memory:", config={"memory_limit": "1GB", "threads": 2})
    return Bench(folder, con, fields)


def changed(bench: Bench, content: bytes, name: str, cells: dict[int, dict[str, str | None]], *lines: int) -> bytes:
    """Loads a file, changes it, loads it again: all but these cells must be as before. Gives the new bytes."""
    path = bench.drop(content, name)
    (load,) = bench.load().files
    before, rejects = rows_of(bench), bench.rejects("line, reason_code")
    raws = bench.con.execute(
        "select line, reason_code, coalesce(raw_text, '') from bronze.rejects where line is not null"
    ).fetchall()
    table = bench.source.file.tables["t"]
    shape = sniff(read_head(path), table, ())
    assert isinstance(shape, Shape)
    was = {n: {c: str(before[n - 1][c]) for c in found} for n, found in cells.items()}
    unparsable = [Unparsable(n, 1 + t.count("\n") if code == "bad_encoding" else 1, t) for n, code, t in raws]
    new = rewrite(content, shape, Edits(cells, was, set(lines)), unparsable, load.rows, "t")
    path.write_bytes(new)
    bench.load([DAY])
    after = rows_of(bench)
    assert len(after) == len(before)
    for number, (old, now) in enumerate(zip(before, after, strict=True), start=1):
        expected = {**old, **cells.get(number, {})}
        assert {c: v or None for c, v in now.items()} == {c: v or None for c, v in expected.items()}
    assert bench.rejects("line, reason_code") == rejects
    return new


def rows_of(bench: Bench) -> list[dict[str, Any]]:
    relation = bench.con.execute(
        "select * exclude (_load_date, _source_file, _row_hash) from bronze.shop__t order by all"
    )
    names = [d[0].lower() for d in relation.description or ()]
    found = [dict(zip(names, row, strict=True)) for row in relation.fetchall()]
    found.sort(key=lambda row: row["_source_row"])
    return [{c: v for c, v in row.items() if c != "_source_row"} for row in found]


QUOTED = (
    'id;name;note;city\n'
    '1;"Müller; Anna";"first line\nsecond ""quoted"" line\n";Köln\n'
    '2;Bob;5" disk;Bonn\n'
    '\n'
    '3; "Eve" ;;"Ber\nlin"\n'
    '4;Zoë;last;Ulm'
)  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "newline", "packed"),
    [
        ("utf-8", "\n", False),
        ("utf-8", "\r\n", True),
        ("utf-8-sig", "\r\n", False),
        ("latin-1", "\n", False),
        ("cp1252", "\r\n", True),
        ("utf-16", "\r\n", False),
        ("utf-16-le", "\n", True),
    ],
)
def test_a_csv_file_keeps_every_other_byte(tmp_path: Path, encoding: str, newline: str, packed: bool) -> None:
    text = QUOTED.replace("\n", newline)
    content = text.encode(encoding)
    bench = shop(tmp_path, encoding="utf-8" if encoding == "utf-8-sig" else encoding)
    data = gzip.compress(content) if packed else content
    name = "t.csv.gz" if packed else "t.csv"
    new = changed(bench, data, name, {1: {"name": None, "note": None}, 3: {"name": MARKER}, 4: {"city": None}})
    plain = gzip.decompress(new) if packed else new
    expected = (
        text.replace('"Müller; Anna"', "")
        .replace(newline.join(['"first line', 'second ""quoted"" line', '"']), "")
        .replace(' "Eve" ', MARKER)
        .replace("last;Ulm", "last;")
    )
    assert plain == expected.encode(encoding)


def test_lines_that_cannot_be_parsed_stay_rejected_without_what_they_said(tmp_path: Path) -> None:
    content = (
        b"id,name,mail\n1,Anna,anna@shop.example\n2,Anna Maier,anna@shop.example,too,many\n3,\xff\xfe,x\n"
        b'4,"Bob" B,bob@shop.example\n5,Eve,eve@shop.example\n6,Anna\n'
    )
    new = changed(shop(tmp_path, max_unparsable_share=0.9), content, "t.csv", {1: {"mail": None}}, 3, 7)
    assert new == (
        b"id,name,mail\n1,Anna,\nx,xxxx xxxxx,xxxx@xxxx.xxxxxxx,xxx,xxxx\n3,\xff\xfe,x\n"
        b'4,"Bob" B,bob@shop.example\n5,Eve,eve@shop.example\nx,xxxx\n'
    )


@pytest.mark.parametrize("layout", ["csv", "csv of two lines", "csv.gz", "utf-16", "jsonl", "json"])
def test_of_a_long_line_that_cannot_be_parsed_all_is_looked_at(tmp_path: Path, layout: str) -> None:
    """What stands behind the characters that the loader keeps."""
    long, fields = "y" * RAW_CHARACTERS, {"max_unparsable_share": 0.9}
    if layout.startswith("json"):
        text = f'{{"id": 1}}\n{{"id": 2, "id": "{long}", "n": "anna@shop.example"}}\n{{"id": 3}}\n'
    else:
        text = f"id,name\n1,Eve\n2,{long},anna@shop.example\n3,Bob\n"
    content = text.encode("utf-16" if layout == "utf-16" else "utf-8")
    if layout == "json":
        content = ("[" + ",\n".join(text.splitlines()) + "]").encode()
    elif layout == "csv.gz":
        content = gzip.compress(content)
    elif layout == "csv of two lines":
        content = f'id,name\n1,Eve\n2,"\xff{long[:50]}\n{long}\nanna@shop.example"\n3,Bob\n'.encode("latin-1")
    if layout == "utf-16":
        fields["encoding"] = "utf-16"
    name = layout if layout.startswith("json") else layout.partition(" ")[0].replace("utf-16", "csv")
    bench = shop(tmp_path, **fields)
    path = bench.drop(content, f"t.{name}")
    bench.load()
    ((line, code, raw),) = bench.rejects("line, reason_code, raw_text")
    assert len(raw) == RAW_CHARACTERS
    assert "anna" not in raw
    shape = sniff(read_head(path), bench.source.file.tables["t"], ())
    assert isinstance(shape, Shape)
    unparsable = [Unparsable(line, 1 + raw.count("\n") if code == "bad_encoding" else 1, raw)]
    found = whole_lines(content, shape, unparsable, {line}, "t")
    assert "anna@shop.example" in found[line]
    assert "Bob" not in found[line]


def test_a_long_line_of_a_file_that_is_no_text_throughout_is_looked_at_all_the_same() -> None:
    content = f"id\n1\n2,{'y' * RAW_CHARACTERS},anna@shop.example\n".encode("utf-16-le") + b"\x00\xd8"
    shape = Shape("csv", encoding="utf-16-le", header_lines=1, columns=("id",))
    assert whole_lines(content, shape, [Unparsable(3, 1, "")], {3}, "t")[3].endswith(",anna@shop.example")


def test_a_file_with_one_column_keeps_its_records(tmp_path: Path) -> None:
    new = changed(shop(tmp_path), b"mail\na@b.example\nc@d.example\n", "t.csv", {1: {"mail": None}})
    assert new == b'mail\n""\nc@d.example\n'


def test_json_lines_keep_their_spelling(tmp_path: Path) -> None:
    lines = [
        '{"id": 1,  "name":"Anna \\u00e9 \\"A\\"", "tags": [1, {"a": "x"}], "n": 1.50}',
        '{"id": 2, "name": "cut off',
        '{"n": 1e3, "name" : "Bob", "id": 3, "tags": null}',
        "",
        '{"id": 4, "NAME": "Eve", "name": "Zoë"}',
    ]
    content = "\n".join(lines).encode()
    new = changed(
        shop(tmp_path, max_unparsable_share=0.9), content, "t.jsonl",
        {1: {"name_2": None, "tags": None}, 2: {"name_2": MARKER}, 3: {"name": None}}, 2,
    )  # fmt: skip
    assert new.decode() == "\n".join(
        [
            '{"id": 1,  "name":null, "tags": null, "n": 1.50}',
            '{"xx": x, "xxxx": "xxx xxx',
            f'{{"n": 1e3, "name" : "{MARKER}", "id": 3, "tags": null}}',
            "",
            lines[4].replace('"Eve"', "null"),  # the loader's `name`, for it comes first there
        ]
    )


@pytest.mark.parametrize("layout", ["array", "array of lines", "objects"])
def test_json_documents(tmp_path: Path, layout: str) -> None:
    records = [{"id": n, "name": f"N{n}", "where": {"street": "S 1", "n": [n]}} for n in range(1, 6)]
    if layout == "objects":
        content = "\n".join(json.dumps(r, indent=1) for r in records)
    else:
        content = json.dumps(records, indent=2 if layout == "array" else None)
    new = changed(shop(tmp_path, format="json"), content.encode(), "t.json", {2: {"name": None, "where": None}})
    if layout == "objects":
        records[1] = {"id": 2, "name": None, "where": None}
        assert new.decode() == "\n".join(json.dumps(r, indent=1) for r in records)
    else:
        records[1] = {"id": 2, "name": None, "where": None}
        assert json.loads(new) == records


def test_parquet_keeps_types_metadata_and_every_other_value(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.int32()),
            "name": pa.array(["Anna", "Bob", None, "Eve"], pa.large_string()),
            "kind": pa.array(["a", "b", "a", "b"]).dictionary_encode(),
            "born": pa.array([date(1980, 1, 1)] * 4, pa.date32()),
            "tags": pa.array([["x"], ["y"], None, []], pa.list_(pa.string())),
        },
        schema=pa.schema(
            [
                pa.field("id", pa.int32(), nullable=False),
                ("name", pa.large_string()),
                ("kind", pa.dictionary(pa.int32(), pa.string())),
                pa.field("born", pa.date32(), nullable=False),
                ("tags", pa.list_(pa.string())),
            ],
            metadata={"ecommerce_extract": '{"version": 1}'},
        ),
    )
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", row_group_size=3)
    cells = {1: {"name": MARKER, "kind": None, "born": None, "tags": None}, 4: {"name": None, "kind": MARKER}}
    new = changed(shop(tmp_path), out.getvalue(), "t.parquet", cells)
    back = pq.ParquetFile(io.BytesIO(new))
    assert back.schema_arrow.metadata[b"ecommerce_extract"] == b'{"version": 1}'
    assert [f.type for f in back.schema_arrow] == [f.type for f in table.schema]
    assert back.metadata.num_row_groups == 2
    assert back.metadata.row_group(0).column(0).compression == "ZSTD"
    assert back.read().column("name").to_pylist() == [MARKER, "Bob", None, None]


def test_parquet_with_sparks_timestamps_keeps_days_that_nanoseconds_do_not_reach(tmp_path: Path) -> None:
    table = pa.table(
        {
            "name": ["Anna", "Bob"],
            "until": pa.array([datetime(9999, 12, 31), datetime(1600, 1, 1, 12, 30)], pa.timestamp("us")),
        }
    )
    con = duckdb.connect()
    out = io.BytesIO()
    pq.write_table(table, out, use_deprecated_int96_timestamps=True)
    new = changed(shop(tmp_path), out.getvalue(), "t.parquet", {1: {"name": None}})
    (tmp_path / "new.parquet").write_bytes(new)
    assert con.execute(f"from read_parquet('{tmp_path}/new.parquet')").fetchall() == [
        (None, datetime(9999, 12, 31)), ("Bob", datetime(1600, 1, 1, 12, 30)),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["interval 3 days", "timetz '10:00:00+02'"])
def test_a_parquet_file_whose_other_values_would_change_is_not_touched(tmp_path: Path, value: str) -> None:
    path = tmp_path / "made.parquet"
    duckdb.connect().execute(f"copy (select 'Anna' as name, {value} as lasts) to '{path}' (format parquet)")
    with pytest.raises(Unclear, match="its column lasts would be written as") as error:
        rewrite(
            path.read_bytes(), Shape("parquet"), Edits({1: {"name": None}}, {1: {"name": "Anna"}}), [], 1, "raw/t",
            tmp_path / "scratch",
        )  # fmt: skip
    assert "Anna" not in str(error.value)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_parquet_file_that_shows_another_value_is_not_touched() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"name": ["Anna", "Bob"]}), out)
    with pytest.raises(Unclear, match="record 2 has another name") as error:
        rewrite(out.getvalue(), Shape("parquet"), Edits({2: {"name": None}}, {2: {"name": "Anna"}}), [], 2, "raw/t")
    assert "Bob" not in str(error.value)


def test_a_file_whose_records_are_others_is_not_touched(tmp_path: Path) -> None:
    content, shape = b"id,name\n1,Anna\n2,Bob\n", Shape("csv", header_lines=1, columns=("id", "name"))
    with pytest.raises(Unclear, match="2 records instead of 3"):
        rewrite(content, shape, Edits({1: {"name": None}}, {1: {"name": "Anna"}}), [], 3, "raw/t.csv")
    with pytest.raises(Unclear, match="record 2 has another name") as error:
        rewrite(content, shape, Edits({2: {"name": None}}, {2: {"name": "Anna"}}), [], 2, "raw/t.csv")
    assert "Bob" not in str(error.value)
    assert "Anna" not in str(error.value)


def test_a_packed_file_that_ends_too_early_still_does(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,name\n" + b"".join(b"%d,Anna%d\n" % (n, n * n * 7919) for n in range(5000)))
    bench = shop(tmp_path, max_unparsable_share=0.9)
    changed(bench, packed[: len(packed) // 2], "t.csv.gz", {7: {"name": None}})
    assert "truncated_file" in {code for _, code, _ in bench.rejects()}


VALUES = st.text(alphabet='ab"\n;, \r|é0', max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=6), st.data())
def test_any_quoted_values(records: list[tuple[str, str, str]], data: st.DataObject) -> None:
    """What is blanked is blank, and all else has the value that it had."""
    import csv

    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(records)
    number = data.draw(st.integers(1, len(records)))
    column = data.draw(st.sampled_from("abc"))
    shape = Shape("csv", delimiter=";", header_lines=1, columns=("a", "b", "c"))
    was = records[number - 1]["abc".index(column)]
    new = rewrite(
        out.getvalue().encode(), shape, Edits({number: {column: None}}, {number: {column: was}}), [], len(records), "t"
    )
    expected = [list(r) for r in records]
    expected[number - 1]["abc".index(column)] = ""
    assert list(csv.reader(io.StringIO(new.decode(), newline=""), delimiter=";"))[1:] == expected
