from __future__ import annotations

import errno
import os
import stat
import time
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion import landing
from ecommerce_platform.ingestion.landing import land, list_drops
from ecommerce_platform_tests.ingestion.conftest import make_source

TODAY = date(2024, 5, 2)
DAY = date(2024, 5, 1)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "orders.csv").write_text("id\n1\n")
    (folder / "items.csv.gz").write_bytes(b"\x1f\x8b")
    (folder / "MANIFEST.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    (folder / "orders_by_day").mkdir()
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_that_a_table_names_become_a_drop_and_the_others_are_left(export: Path, raw: Path, shop: Source):
    before = snapshot(export)
    landed = land(export, shop, raw, DAY, TODAY)
    assert (landed.day, landed.landed, landed.left) == (
        DAY,
        ("items.csv.gz", "orders.csv"),
        ("MANIFEST.txt", "orders_by_day"),
    )
    assert snapshot(raw / "2024-05-01") == {"items.csv.gz": b"\x1f\x8b", "orders.csv": b"id\n1\n"}
    assert snapshot(export) == before
    assert sorted(os.listdir(raw)) == [".lock", "2024-05-01"]


def test_a_drop_is_its_owners_alone(export: Path, raw: Path, shop: Source):
    """Drops hold personal data."""
    (export / "orders.csv").chmod(0o644)
    mask = os.umask(0o022)
    try:
        land(export, shop, raw, DAY, TODAY)
        (export / "orders.csv").write_text("id\n2\n")
        land(export, shop, raw, DAY, TODAY)
    finally:
        os.umask(mask)
    modes = {str(p.relative_to(raw.parent)): stat.S_IMODE(p.stat().st_mode) for p in [raw, *raw.rglob("*")]}
    assert len(modes) == 9
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


def test_without_a_day_a_delivery_lands_today(export: Path, raw: Path, shop: Source):
    assert land(export, shop, raw, None, TODAY).day == TODAY


def test_a_day_to_come_is_refused_and_today_is_not(export: Path, raw: Path, shop: Source):
    with pytest.raises(InputError, match=r"2024-05-03.*in the future: today is 2024-05-02"):
        land(export, shop, raw, date(2024, 5, 3), TODAY)
    assert not raw.exists()
    assert land(export, shop, raw, TODAY, TODAY).day == TODAY


@pytest.mark.parametrize(("age", "stays"), [(60, True), (landing._STALE + 60, False)])
def test_another_lands_folder_is_removed_only_when_it_is_a_day_old(
    export: Path, raw: Path, shop: Source, age: float, stays: bool
):
    live = raw / ".incoming-2024-05-01-abc"
    live.mkdir(parents=True)
    (live / "orders.csv").write_text("half of it")
    os.utime(live, (time.time() - age, time.time() - age))
    land(export, shop, raw, DAY, TODAY)
    assert live.exists() is stays
    assert (raw / "2024-05-01" / "orders.csv").read_text() == "id\n1\n"


def test_an_extracts_folder_is_left_to_the_next_extract(export: Path, raw: Path, shop: Source):
    other = raw / ".incoming-extract-1"
    other.mkdir(parents=True)
    os.utime(other, (1, 1))
    land(export, shop, raw, DAY, TODAY)
    assert other.exists()


def test_the_very_same_files_land_only_once(export: Path, raw: Path, shop: Source):
    land(export, shop, raw, DAY, TODAY)
    times = {p: p.stat().st_mtime_ns for p in raw.rglob("*")}
    for day in (None, DAY):
        again = land(export, shop, raw, day, TODAY)
        assert again.already
        assert again.day == DAY
    assert {p: p.stat().st_mtime_ns for p in raw.rglob("*")} == times


def test_other_content_of_the_same_size_is_another_delivery(export: Path, raw: Path, shop: Source):
    land(export, shop, raw, DAY, TODAY)
    (export / "orders.csv").write_text("id\n2\n")
    assert land(export, shop, raw, None, TODAY).day == TODAY


def test_a_redelivered_day_replaces_the_drop_and_the_old_one_is_kept(export: Path, raw: Path, shop: Source):
    land(export, shop, raw, DAY, TODAY)
    before = snapshot(raw / "2024-05-01")
    (export / "orders.csv").write_text("id\n2\n3\n")
    (export / "items.csv.gz").unlink()
    landed = land(export, shop, raw, DAY, TODAY)
    assert snapshot(raw / "2024-05-01") == {"orders.csv": b"id\n2\n3\n"}
    assert landed.replaced is not None
    assert snapshot(landed.replaced) == before
    assert list_drops(raw, shop).days == (DAY,)


def test_progress_ends_at_all_bytes(export: Path, raw: Path, shop: Source):
    (export / "orders.csv").write_bytes(b"x" * 20_000_000)
    seen: list[tuple[int, int]] = []
    land(export, shop, raw, DAY, TODAY, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20_000_002, 20_000_002)
    assert len(seen) > 10
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_missing_folder_is_named(tmp_path: Path, raw: Path, shop: Source):
    with pytest.raises(InputError, match=r"nowhere.*no such folder"):
        land(tmp_path / "nowhere", shop, raw, None, TODAY)


def test_a_folder_without_fitting_files_lists_the_patterns(tmp_path: Path, raw: Path, shop: Source):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "other.csv").write_text("x")
    with pytest.raises(InputError, match=r"orders\*, items\*\.csv"):
        land(tmp_path / "export", shop, raw, None, TODAY)


def test_a_file_that_two_tables_name_is_refused(export: Path, raw: Path):
    shop = make_source(orders={}, everything={"files": ("*.csv",)})
    with pytest.raises(InputError, match=r"orders\.csv.*orders and everything"):
        land(export, shop, raw, None, TODAY)
    (raw / "2024-05-01").mkdir(parents=True, exist_ok=True)
    (raw / "2024-05-01" / "orders.csv").write_text("x")
    with pytest.raises(InputError, match="orders and everything"):
        list_drops(raw, shop)


@pytest.mark.parametrize(("number", "message"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be read")])
def test_a_failing_copy_leaves_nothing_behind(
    export: Path, raw: Path, shop: Source, monkeypatch: pytest.MonkeyPatch, number: int, message: str
):
    land(export, shop, raw, DAY, TODAY)
    before = snapshot(raw)
    (export / "orders.csv").write_text("id\n2\n")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(landing.os, "fsync", fail)
    with pytest.raises(InputError, match=message):
        land(export, shop, raw, DAY, TODAY)
    assert snapshot(raw) == before
    assert sorted(os.listdir(raw)) == [".lock", "2024-05-01"]


def test_when_the_new_drop_cannot_take_its_place_the_old_one_returns(
    export: Path, raw: Path, shop: Source, monkeypatch: pytest.MonkeyPatch
):
    land(export, shop, raw, DAY, TODAY)
    before = snapshot(raw)
    (export / "orders.csv").write_text("id\n2\n")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.startswith(".incoming-"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        land(export, shop, raw, DAY, TODAY)
    assert snapshot(raw) == before


def test_drops_list_the_files_of_each_table_by_day_and_name(raw: Path, shop: Source):
    for day, name in [("2024-05-02", "orders_b.csv"), ("2024-05-02", "orders_a.csv"), ("2024-05-01", "orders.csv")]:
        (raw / day / "nested").mkdir(parents=True, exist_ok=True)
        (raw / day / name).write_text("id\n")
        (raw / day / "nested" / "orders.csv").write_text("id\n")
    (raw / "2024-05-01" / "notes.txt").write_text("x")
    (raw / "2024-05-01" / ".hidden.csv").write_text("x")
    (raw / ".replaced" / "2024-05-01-x").mkdir(parents=True)
    (raw / "orders.csv").write_text("in no folder of a day")
    drops = list_drops(raw, shop)
    assert [(f.day.isoformat(), f.name, f.size) for f in drops.tables["orders"]] == [
        ("2024-05-01", "orders.csv", 3),
        ("2024-05-02", "orders_a.csv", 3),
        ("2024-05-02", "orders_b.csv", 3),
    ]
    assert drops.tables["items"] == []
    assert [str(p.relative_to(raw)) for p in drops.left] == [
        "2024-05-01/nested",
        "2024-05-01/notes.txt",
        "2024-05-02/nested",
        "orders.csv",
    ]


def test_no_raw_folder_means_no_drops(raw: Path, shop: Source):
    assert list_drops(raw, shop).tables == {"orders": [], "items": []}


@pytest.mark.parametrize("name", ["2024-13-01", "20240501", "may"])
def test_a_folder_that_is_no_day_is_named(raw: Path, shop: Source, name: str):
    (raw / name).mkdir(parents=True)
    with pytest.raises(InputError, match=rf"{name}.* is not a day"):
        list_drops(raw, shop)


def test_thousands_of_files_land_and_are_listed_quickly(tmp_path: Path, raw: Path, shop: Source):
    export = tmp_path / "export"
    export.mkdir()
    for number in range(2_000):
        (export / f"orders_{number:05}.csv").write_bytes(b"id\n1\n")
    land(export, shop, raw, DAY, TODAY)
    assert len(list_drops(raw, shop).tables["orders"]) == 2_000
