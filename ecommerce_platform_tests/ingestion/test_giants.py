"""Records too large for DuckDB's reader: where they stand is told in every layout, and they load like any other."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest

from ecommerce_platform.ingestion import giants
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench

SMALL = {"id": 1, "lines": [{"a": "]}\\"}], "note": 'a "quoted" word'}
LARGE = {"id": 2, "lines": [{"text": '\\"[{' * 40, "n": n} for n in range(3)], "note": {"deep": [[["x" * 90]]]}}


def _file(folder: Path, layout: str, records: list[dict], indent: int | None = None) -> Path:
    texts = [json.dumps(r, indent=indent if layout != "lines" else None) for r in records]
    text = {"lines": "\n".join(texts) + "\n", "objects": "\n".join(texts), "array": f"[{', '.join(texts)}]\n"}[layout]
    path = folder / f"file.{layout}"
    path.write_text(text)
    return path


def _read(pieces: list[giants.Piece], layout: str) -> list[dict]:
    """The records of the pieces, with the values of giants where they stood."""
    found: list[dict] = []
    for piece in pieces:
        text = piece.path.read_text()
        if piece.giant:
            for token, path in piece.values:
                text = text.replace(f'"{token}"', path.read_text())
            found.append(json.loads(text))
        elif layout == "array":
            found += json.loads(text)
        else:
            decoder, at = json.JSONDecoder(), 0
            while at < len(text.rstrip()):
                record, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
                found.append(record)
    return found


@pytest.mark.parametrize("layout", ["lines", "objects", "array"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("where", ["SL", "LS", "L", "SLLS", "LSL", "SSLSSLS"])
def test_the_pieces_are_the_records_in_their_order(
    layout: str, indent: int | None, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{**(SMALL if kind == "S" else LARGE), "id": n} for n, kind in enumerate(where)]
    path = _file(tmp_path, layout, records, indent)
    monkeypatch.setattr(giants, "_LARGE", 100)
    for chunk in (7, 64, 1 << 20):
        monkeypatch.setattr(giants, "_CHUNK", chunk)
        pieces = giants.cut(path, layout, tmp_path / f"p{chunk}", limit=300)
        assert sum(piece.giant for piece in pieces) == where.count("L")
        assert _read(pieces, layout) == records


def test_texts_full_of_quotes_brackets_and_backslashes_end_where_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(4)
    monkeypatch.setattr(giants, "_LARGE", 60)
    for _ in range(60):
        records = [
            {"id": n, "v": ["".join(chance.choices('"\\[]{},ab\n', k=chance.randrange(60))) for _ in range(4)]}
            for n in range(6)
        ]
        layout = chance.choice(["lines", "objects", "array"])
        monkeypatch.setattr(giants, "_CHUNK", chance.randrange(1, 50))
        pieces = giants.cut(_file(tmp_path, layout, records), layout, tmp_path / "p", limit=150)
        assert not pieces or _read(pieces, layout) == records


@pytest.mark.parametrize(
    "text",
    [
        "[{large}, ]", "[,{large}]", "[{small},, {large}]", "[{large} {small}]", "[{large}] {small}", "[{large}", "[{large}]]",
        "[{large},,{large}]", '[{large}, "x]',
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_is_not_cut_into_good_ones(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text.replace("{large}", json.dumps(LARGE)).replace("{small}", json.dumps(SMALL)))
    assert giants.cut(path, "array", tmp_path / "p", limit=300) == []


def test_what_has_no_large_record_one_beyond_bounds_or_one_that_is_all_text_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giants, "_LARGE", 100)
    cut, path = tmp_path / "p", _file(tmp_path, "array", [SMALL, LARGE])
    assert giants.cut(path, "array", cut, limit=10_000) == []
    assert giants.cut(path, "array", cut, limit=300, largest=500) == []
    assert giants.cut(_file(tmp_path, "array", [{"id": "x" * 400}]), "array", cut, limit=300) == []


@pytest.mark.parametrize("layout", ["lines", "array", "objects"])
def test_a_record_of_forty_megabytes_loads_at_its_place_and_a_second_time_alike(layout: str, bench: Bench) -> None:
    lines = [{"id": n, "text": "é" * 1_000} for n in range(20_000)]
    records = [{"id": 1, "lines": []}, {"id": 2, "lines": lines, "ID": "as well"}, {"id": 3}, {"lines": None, "id": 4}]
    texts = [json.dumps(record, ensure_ascii=False) for record in records]
    text = f"[{','.join(texts)}]" if layout == "array" else "\n".join(texts)
    for day in (DAY, DAY + timedelta(1)):
        bench.drop(text, "t.jsonl" if layout == "lines" else "t.json", day)
    loaded = bench.load()
    assert (loaded.rows_inserted, loaded.rows_rejected, loaded.problems) == (8, 0, [])
    rows = bench.rows('_source_row, id, json_array_length(lines), "ID_2"')
    four = [(1, "1", 0, None), (2, "2", 20_000, "as well"), (3, "3", None, None), (4, "4", None, None)]
    assert rows == four + four
    assert bench.rows("lines->>'$[19999].text'")[1] == ("é" * 1_000,)
    hashes = bench.rows("_row_hash")
    assert hashes[:4] == hashes[4:]


def test_a_large_record_that_is_no_json_is_rejected_and_the_others_are_loaded(bench: Bench) -> None:
    broken = '{"id": 2, "lines": [' + '{"id": tru},' * 3_500_000 + "{}]}"
    bench.drop(f'{{"id": 1}}\n{broken}\n{{"id": 3}}\n', "t.jsonl")
    loaded = bench.load()
    assert [row for (row,) in bench.rows("id")] == ["1", "3"]
    assert loaded.rows_rejected == 1
