"""A large file of JSON is read once, by the keys of its first records, and comes out as if all keys had been looked up first."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.ingestion import loader
from ecommerce_platform.ingestion.readers import Scan
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench

FIRST = 5


def _contents(bench: Bench, texts: list[str], names: list[str]) -> list[Any]:
    for number, (text, name) in enumerate(zip(texts, names, strict=True)):
        bench.drop(text, name, DAY + timedelta(number))
    loaded = [bench.load([DAY + timedelta(number)]) for number in range(len(texts))]
    said = [[(f.rows, f.rejected, f.problem, f.columns) for f in load.files] for load in loaded]
    return [*bench.state()[:3], bench.rows("_load_date, _source_row, id"), said]


@pytest.mark.parametrize("seed", range(12))
def test_it_comes_out_the_same(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    texts, names = [], []
    for _ in range(6):
        keys = ["id", "a", "é", "b.c", "d'q"]
        records = []
        for n in range(12):
            late = n > FIRST and chance.random() < 0.2
            mine = [k for k in keys if chance.random() < (0.95 if chance.random() < 0.7 else 0.4)] or ["id"]
            records.append(
                json.dumps(dict.fromkeys((mine if chance.random() < 0.8 else mine[::-1]) + ["new"] * late, n))
            )
        if chance.random() < 0.5:
            odd = ["[1]", "{}", "5", '{"a": 1, "a": 2}', '{"a": ', "null", '{"A": 1, "a": 2}']
            records.insert(chance.randrange(len(records)), chance.choice(odd))
        array = chance.random() < 0.5
        texts.append(f"[{','.join(records)}]" if array else "\n".join(records))
        names.append("t.json" if array else "t.jsonl")
    monkeypatch.setattr(loader, "_FIRST_RECORDS", FIRST)
    found = []
    for bytes_ in (0, 1 << 30):
        monkeypatch.setattr(loader, "ONCE_BYTES", bytes_)
        with duckdb.connect(":memory:") as con:
            found.append(_contents(Bench(tmp_path / str(bytes_), con), texts, names))
    assert found[0] == found[1]


@pytest.mark.parametrize(("more", "scans"), [("", 1), ('{"id": 9, "late": 1}\n', 2)])
def test_only_other_keys_take_a_second_look(
    more: str, scans: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "ONCE_BYTES", 0)
    monkeypatch.setattr(loader, "_FIRST_RECORDS", FIRST)
    read: list[Scan] = []
    arrive = loader.Target.arrive

    def counted(self: Any, scan: Scan, *rest: Any) -> Any:
        read.append(scan)
        return arrive(self, scan, *rest)

    monkeypatch.setattr(loader.Target, "arrive", counted)
    lines = "".join(f'{{"id": {n}, "a": 1}}\n' for n in range(8)) + '{"a": 3}\n'
    loaded = bench.load_one(lines + more, "t.jsonl")
    assert (loaded.rows, loaded.rejected) == (9 + bool(more), 0)
    assert len(read) == scans
    assert bench.rows("id, a")[8] == (None, "3")
