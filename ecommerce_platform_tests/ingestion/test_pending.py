"""Which days are loaded again: content decides, and what a look has found is remembered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.ingestion import pending
from ecommerce_platform.ingestion.bronze import copies, load_bronze, load_pending
from ecommerce_platform.ingestion.zone import LocalZone
from ecommerce_platform.silver.entities import delivered_days
from ecommerce_platform_tests.ingestion.conftest import DAY, Bench

NEXT = DAY + timedelta(1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were looked at."""
    names: list[str] = []
    original = pending._sha256

    def note(file):
        if file is not None:
            names.append(f"{file.day}/{file.name}")
        return original(file)

    monkeypatch.setattr(pending, "_sha256", note)
    return names


def touched(folder: Path, nanoseconds: int = 10**18) -> None:
    """Gives all files another time, as a copy or a restored backup has."""
    for path in folder.rglob("*.csv"):
        os.utime(path, ns=(nanoseconds, nanoseconds))


def test_a_restored_zone_is_not_loaded_again_and_read_once(bench: Bench, read: list[str]):
    bench.drop("id\n1\n")
    bench.drop("id\n2\n", day=NEXT)
    bench.load()
    read.clear()
    assert bench.pending == set()
    assert read == []
    touched(bench.raw)
    assert bench.pending == set()
    assert sorted(read) == [f"{DAY}/t.csv", f"{NEXT}/t.csv"]
    read.clear()
    assert bench.pending == set()
    assert read == []
    touched(bench.raw, 2 * 10**18)
    bench.drop("id\n3\n", day=NEXT)
    assert bench.pending == {NEXT}


def test_a_look_changes_nothing_that_others_compare_loads_by(bench: Bench):
    bench.drop("id\n1\n")
    bench.load()
    before = delivered_days(bench.con, "t")
    touched(bench.raw)
    assert bench.pending == set()
    assert delivered_days(bench.con, "t") == before


def test_of_several_files_of_a_day_one_with_other_bytes_has_the_day_loaded(bench: Bench):
    bench.drop("id\n1\n", "t1.csv")
    bench.drop("id\n2\n", "t2.csv")
    bench.load()
    touched(bench.raw)
    bench.drop("id\n3\n", "t2.csv")
    assert bench.pending == {DAY}
    bench.load()
    assert bench.rows("id") == [("1",), ("3",)]


def test_bytes_that_change_under_the_same_size_and_time_are_taken_over_when_asked_for(bench: Bench):
    """Nobody reads every file each time: this is the limit that docs/convergence.md names."""
    path = bench.drop("id\n1\n")
    bench.load()
    before = delivered_days(bench.con, "t")
    stat = path.stat()
    path.write_text("id\n2\n")
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert bench.pending == set()

    @contextmanager
    def connect() -> Iterator[duckdb.DuckDBPyConnection]:
        yield bench.con

    def load(again: set[date]) -> set[date]:
        zone = LocalZone(bench.raw)
        days, _ = load_pending(
            connect, zone, zone.drops(bench.source), bench.source, "t", [DAY], again,
            expected=(), required={}, scratch=bench.folder / "scratch",
        )  # fmt: skip
        return days

    assert load(set()) == set()
    assert bench.rows("id") == [("1",)]
    assert load({DAY}) == {DAY}
    assert bench.rows("id") == [("2",)]
    assert delivered_days(bench.con, "t") != before


def forget_hashes(bench: Bench) -> None:
    """As the warehouse was before hashes were kept."""
    for column in ("sha256", "sha256_learnt", "seen_ns"):
        bench.con.execute(f"alter table bronze.files drop column {column}")


def test_a_warehouse_from_before_learns_the_hashes_of_what_it_holds(bench: Bench, read: list[str]):
    bench.drop("id\n1\n")
    bench.load()
    forget_hashes(bench)
    assert bench.pending == set()
    fingerprints = delivered_days(bench.con, "t")
    read.clear()
    touched(bench.raw)
    assert bench.pending == set()
    assert read == [f"{DAY}/t.csv"]
    # What silver took over before stays what it is: nothing is taken over again for having a hash.
    size, modified = bench.con.execute("select size_bytes, modified_ns from bronze.files").fetchone()
    (expected,) = bench.con.execute("select md5(concat_ws(':', 't.csv', ?, ?, 1))", [size, modified]).fetchone()
    assert fingerprints == delivered_days(bench.con, "t") == {DAY: expected}


def test_a_warehouse_from_before_loads_what_it_cannot_know(bench: Bench):
    bench.drop("id\n1\n")
    bench.load()
    forget_hashes(bench)
    touched(bench.raw)
    assert bench.pending == {DAY}
    bench.load()
    touched(bench.raw, 2 * 10**18)
    assert bench.pending == set()


def test_a_warehouse_that_read_the_same_file_twice_loads_that_day_again(bench: Bench):
    bench.drop("id\n1\n", "t1.csv")
    bench.drop("id\n1\n", "t2.csv")
    load_bronze(
        bench.con, bench.source, "t", bench.files, {DAY}, expected=(), required={}, scratch=bench.folder / "s", once=False
    )  # fmt: skip
    assert bench.rows("id") == [("1",), ("1",)]
    forget_hashes(bench)
    assert bench.pending == {DAY}
    bench.load()
    assert bench.rows("id, _source_file") == [("1", "t1.csv")]
    assert bench.pending == set()


def test_a_file_with_the_bytes_of_another_of_its_day_is_used_once_and_named(bench: Bench):
    bench.drop("id,v\n1,a\n2,b\n", "t1.csv")
    bench.drop("id,v\n1,a\n2,b\n", "t1 (copy).csv")
    bench.drop("id,v\n1,a\n2,c\n", "t2.csv")
    bench.drop("id,v\n1,a\n2,b\n", "t1.csv", NEXT)
    load = bench.load()
    assert load.rows_inserted == 6
    assert load.problems == []
    assert load.notes == [(f"{DAY}/t1.csv", "note: the same bytes as t1 (copy).csv, which is used once")]
    assert bench.rejects() == []
    assert copies(bench.con, "t") == {(DAY, "t1.csv")}
    (bench.raw / DAY.isoformat() / "t1 (copy).csv").unlink()
    bench.load()
    assert bench.rows("_source_file, v")[:2] == [("t1.csv", "a"), ("t1.csv", "b")]


def test_two_empty_files_are_two_empty_files(bench: Bench):
    bench.drop("", "t1.csv")
    bench.drop("", "t2.csv")
    assert [problem for _, problem in bench.load().problems] == ["the file is empty"] * 2


def test_a_copied_zone_that_also_lost_a_day_takes_that_day_back(bench: Bench):
    bench.drop("id\n1\n")
    bench.drop("id\n2\n", day=NEXT)
    bench.load()
    shutil.copytree(bench.raw, bench.folder / "copy")
    shutil.rmtree(bench.raw)
    shutil.copytree(bench.folder / "copy", bench.raw, copy_function=shutil.copyfile)
    shutil.rmtree(bench.raw / NEXT.isoformat())
    assert bench.pending == {NEXT}
