"""The careful readers agree with DuckDB about what is good, and with themselves wherever a block happens to end."""

from __future__ import annotations

import json
import random
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.ingestion import salvage, salvage_json
from ecommerce_platform.ingestion.readers import REJECTED, SCANNED, csv_scan, salvaged_csv_scan
from ecommerce_platform.ingestion.rejects import RejectFile
from ecommerce_platform.ingestion.salvage import Salvaged, explain_csv, salvage_csv
from ecommerce_platform.ingestion.sniff import Shape


def shape_of(columns: int) -> Shape:
    return Shape("csv", columns=tuple("xyz"[:columns]), header_lines=1)


def made(columns: int, alphabet: list[bytes]) -> bytes:
    body = b"".join(random.choices(alphabet, k=random.randint(0, 30)))
    return ",".join("xyz"[:columns]).encode() + b"\n" + body


def salvaged(path: Path, shape: Shape) -> tuple[Salvaged, list[dict]]:
    rejects = RejectFile(path.with_suffix(".rejects"))
    found = salvage_csv(path, shape, path.with_suffix(".good"), rejects)
    rejects.close()
    return found, [json.loads(line) for line in rejects.path.read_text().splitlines()] if rejects.count else []


# Without spaces: around quotes DuckDB has rules of its own for them. With few line feeds: a value with many of them
# may be held for an accident in a faulty file, but not in a sound one.
ALPHABETS = [
    [b"a", b"b", b",", b",", b'"', b'""', b'","', b"\n"],
    [b"a", b",", b"\n", b"\n", b"\r\n", b"\xc3\xa9", b"\xff"],
    [b"a", b"b", b"c", b",", b'"', b"\n"],
]


@pytest.mark.parametrize("noting", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_salvage_agrees_with_duckdb_where_duckdb_is_sure(tmp_path: Path, seed: int, noting: bool):
    random.seed(seed)
    path = tmp_path / "t.csv"
    compared = {"sound": 0, "explained": 0}
    with duckdb.connect() as con:
        for _ in range(200):
            columns = random.randint(1, 3)
            content, shape = made(columns, random.choice(ALPHABETS)), shape_of(columns)
            path.write_bytes(content)
            good, rejects = salvaged(path, shape)
            scan = salvaged_csv_scan(shape, [good])
            read = con.execute(f"from {scan.relation}", {"paths": [str(good.path)]}).fetchall() if good.rows else []
            assert len(read) == good.rows, content
            try:
                rows = con.execute(f"from {csv_scan(shape, noting=noting).relation}", {"paths": [str(path)]}).fetchall()
                offsets = con.execute(f"select line_byte_position - 1 from {REJECTED}").fetchall() if noting else []
            except duckdb.Error:
                continue
            finally:
                con.execute(f"drop table if exists {REJECTED}; drop table if exists {SCANNED}")
            breaks = sum(value.count("\n") for row in rows for value in row if value)
            body = content.partition(b"\n")[2]
            lines = body.count(b"\n") + (body[-1:] not in (b"", b"\n"))
            if columns > 1:
                lines = len(body.rstrip(b"\r\n").split(b"\n")) if body.strip(b"\r\n") else 0
            if breaks > 2 or (b"\r" in body and (b"\r" in body.replace(b"\r\n", b"") or rows != read)):
                continue
            if not offsets and len(rows) + breaks == lines:
                compared["sound"] += 1
                assert (read, rejects) == (rows, []), content
            elif offsets:
                explained = explain_csv(path, shape, [offset for (offset,) in offsets])
                if explained is not None and len(rows) + breaks + len(explained) == lines:
                    compared["explained"] += 1
                    assert read == rows, content
                    assert [(r["line"], r["reason_code"], r["reason"], r["raw_text"]) for r in rejects] == [
                        (r.line, r.code, r.reason, r.raw_text) for r in explained
                    ], content
    assert min(compared.values() if noting else [compared["sound"]]) >= 5


def test_where_a_block_ends_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    random.seed(3)
    path = tmp_path / "t.csv"
    for _ in range(150):
        columns = random.randint(1, 3)
        path.write_bytes(made(columns, [*ALPHABETS[0], b" ", b"\r", b"\xff"]))
        results = []
        for block in (1 << 20, 1, 3, 7):
            monkeypatch.setattr(salvage, "_BLOCK", block)
            good, rejects = salvaged(path, shape_of(columns))
            results.append((good.rows, good.path.read_bytes(), rejects))
        assert results[1:] == results[:1] * 3


def test_where_a_block_of_json_ends_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    random.seed(4)
    path = tmp_path / "t.json"
    parts = [
        '{"a": 1}',
        '{"a":\n"x}"}',
        '{"a": [{"b": 2}, {"b": 3}]}',
        ",",
        "\n",
        '{"a": }',
        '{"a": tru',
        "]",
        "12",
        '"é"',
        "{",
    ]
    with duckdb.connect() as con:
        for layout in ("array", "objects") * 40:
            text = ",\n".join(random.choices(parts, k=random.randint(0, 8)))
            path.write_text(f"[{text}]" if layout == "array" else text, encoding="utf-8")
            results = []
            for block in (1 << 20, 100, 201):
                monkeypatch.setattr(salvage_json, "_BLOCK", block)
                rejects = RejectFile(tmp_path / "rejects")
                good = salvage_json.salvage_json(con, path, Shape("json", layout=layout), tmp_path / "good", rejects)
                rejects.close()
                results.append((good.rows, good.path.read_bytes(), rejects.path.read_text() if rejects.count else ""))
            assert results[1:] == results[:1] * 2, text


def test_blocks_keep_memory_bounded(tmp_path: Path):
    import tracemalloc

    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"x,y,z\n")
        for number in range(300_000):
            file.write(b'%d,"quoted, %d",%s\n' % (number, number, b"z" * 100))
            if number == 150_000:
                file.write(b'stray,"quote\n' + b"x" * 60_000_000 + b"\n")
    tracemalloc.start()
    good, rejects = salvaged(path, shape_of(3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert good.rows == 300_000
    assert [(r["line"], r["reason_code"]) for r in rejects] == [(150_003, "bad_quote"), (150_004, "line_too_long")]
    assert peak < 100_000_000
