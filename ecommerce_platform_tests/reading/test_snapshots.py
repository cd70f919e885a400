"""Reading what is published: the list of snapshots, finding one by id or time, opening one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.reading import snapshots as reading
from ecommerce_platform.reading.snapshots import (
    current_snapshot,
    find_snapshot,
    open_snapshot,
    read_manifest,
    snapshot_time,
    snapshots,
)
from ecommerce_platform_tests.warehouse.published import CUSTOMERS, LABELS, SUMMARY, PublishingShop, customers_of

#: In Berlin: 31 January 23:30:15, 1 February 00:10:00, 1 February 14:05:07.5.
TIMES = (
    datetime(2024, 1, 31, 22, 30, 15, tzinfo=UTC),
    datetime(2024, 1, 31, 23, 10, tzinfo=UTC),
    datetime(2024, 2, 1, 13, 5, 7, 500_000, tzinfo=UTC),
)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def tiny(tmp_path: Path) -> PublishingShop:
    """Three snapshots, of 3, 4 and 5 customers."""
    shop = PublishingShop(tmp_path)
    for number, moment in enumerate(TIMES):
        if number:
            shop.write(3 + number)
        shop.publish(now=moment, run_id=f"run-{number}")
    return shop


def test_snapshots_are_listed_with_what_they_hold(tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        con.execute(
            "insert into bronze.files (raw_table, _load_date, _source_file) "
            "values ('a', '2024-01-05', 'x'), ('b', '2024-01-07', 'x')"
        )
    fourth = tiny.publish(even_unchanged=True)
    found = snapshots(tiny.published)
    assert [s.published_at for s in found[:3]] == list(TIMES)
    assert [s.local_time for s in found[:3]] == ["2024-01-31 23:30:15", "2024-02-01 00:10:00", "2024-02-01 14:05:07"]
    assert [s.current for s in found] == [False, False, False, True]
    assert [s.rows for s in found] == [5, 6, 7, 7]
    assert [len(s.changed) for s in found] == [3, 2, 2, 0]
    assert [s.run_id for s in found] == ["run-0", "run-1", "run-2", None]
    assert [s.newest_load for s in found] == [None, None, None, date(2024, 1, 7)]
    assert found[3].folder == fourth.folder
    assert found[3].tables == fourth.tables
    assert {s.source for s in found} == {"tiny"}


@pytest.mark.parametrize("moment", ["before its manifest is read", "after it"])
def test_a_snapshot_that_is_removed_while_they_are_listed_is_left_out(
    tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    oldest = snapshots(tiny.published)[0]

    def read(folder: Path) -> dict[str, Any]:
        if folder == oldest.folder and moment == "before its manifest is read":
            shutil.rmtree(folder)
        manifest = read_manifest(folder)
        if folder == oldest.folder:
            shutil.rmtree(folder)
        return manifest

    monkeypatch.setattr(reading, "read_manifest", read)
    assert [s.published_at for s in snapshots(tiny.published)] == list(TIMES[1:])


def test_own_and_linked_bytes_add_up_to_what_is_on_disk(tiny: PublishingShop) -> None:
    tiny.publish(even_unchanged=True)

    def on_disk() -> int:
        return sum({f.stat().st_ino: f.stat().st_size for f in tiny.published.rglob("*.parquet")}.values())

    found = snapshots(tiny.published)
    sizes = {t: tiny.file(found[1], t).stat().st_size for t in (CUSTOMERS, LABELS, SUMMARY)}  # type: ignore[arg-type]
    assert (found[1].own_bytes, found[1].linked_bytes) == (sizes[CUSTOMERS] + sizes[SUMMARY], sizes[LABELS])
    assert found[3].own_bytes == 0
    assert sum(s.own_bytes for s in found) == on_disk()
    shutil.rmtree(found[0].folder)
    assert sum(s.own_bytes for s in snapshots(tiny.published)) == on_disk()


@pytest.mark.parametrize(
    ("as_of", "customers"),
    [
        ("20240131T223015000000Z", 3),
        ("20240201", 5),
        ("20240131T23", 4),
        ("20240131t231", 4),
        ("2024-01-31", 3),
        ("2024-02-01", 5),
        ("2025-06-01", 5),
        (" 2024-02-01 00:09 ", 3),
        ("2024-02-01 00:10", 4),
        ("2024-02-01T14:04", 4),
        ("2024-02-01 14:05", 5),
        ("2024-02-01 14:05:06", 4),
        ("2024-02-01 14:05:07", 5),
        ("2024-02-01 14:05:07.4", 4),
        ("2024-02-01 14:05:07.5", 5),
        ("2024-01-31T23:09Z", 3),
        ("2024-01-31T23:10Z", 4),
        ("2024-01-31T18:10-05:00", 4),
        (date(2024, 1, 31), 3),
        (TIMES[1], 4),
        (TIMES[1] - timedelta(microseconds=1), 3),
        (datetime(2024, 2, 1, 0, 10), 4),
    ],
)
def test_a_snapshot_is_found_by_id_prefix_or_local_time(
    tiny: PublishingShop, as_of: str | date, customers: int
) -> None:
    assert customers_of(find_snapshot(tiny.published, as_of).folder) == customers


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        ("2024-01-30", "nothing had been published by 2024-01-30"),
        (date(2024, 1, 30), "nothing had been published by 2024-01-30"),
        ("20240131", "2 snapshots begin with '20240131'"),
        ("20230101", "there is no snapshot '20230101'"),
        ("yesterday", "there is no snapshot 'yesterday'"),
        ("", "there is no snapshot ''"),
        ("2024-13-01", "'2024-13-01' is no time"),
        ("2024-01-01 25:00", "'2024-01-01 25:00' is no time"),
        ("9999-12-31", "'9999-12-31' is no time"),
    ],
)
def test_what_is_not_found_is_answered_with_what_there_is(tiny: PublishingShop, as_of: str | date, says: str) -> None:
    with pytest.raises(InputError) as error:
        find_snapshot(tiny.published, as_of)
    assert says in str(error.value)
    if "no time" not in says:
        assert "20240131T223015000000Z (2024-01-31 23:30:15)" in str(error.value)


def test_only_the_newest_are_listed_in_an_error(tiny: PublishingShop) -> None:
    for number in range(10):
        tiny.publish(now=TIMES[2] + timedelta(seconds=1 + number), even_unchanged=True, keep=99)
    with pytest.raises(InputError, match="and 3 older"):
        find_snapshot(tiny.published, "x")


def test_nothing_published_is_an_empty_list_and_an_error_for_readers(tmp_path: Path) -> None:
    assert snapshots(tmp_path) == []
    for call in (lambda: find_snapshot(tmp_path, "2024"), lambda: current_snapshot(tmp_path)):
        with pytest.raises(InputError, match="nothing is published yet"):
            call()
    with pytest.raises(InputError, match="no such snapshot"):
        open_snapshot(tmp_path / "snapshots" / "gone")


def test_folders_that_are_no_snapshots_are_left_out(tiny: PublishingShop) -> None:
    for name in (".building-1", f".removing-{snapshots(tiny.published)[0].id}", "mine", "20249999T999999999999Z"):
        (tiny.published / "snapshots" / name).mkdir()
        assert snapshot_time(name) is None
    assert len(snapshots(tiny.published)) == 3


def test_a_snapshot_of_before_manifests_had_a_format_is_read(tiny: PublishingShop) -> None:
    folder = snapshots(tiny.published)[2].folder
    manifest = json.loads((folder / "manifest.json").read_text())
    old = {k: manifest[k] for k in ("snapshot", "source", "published_at")}
    keys = ("rows", "file", "columns", "hashed")
    old["tables"] = {t: {k: entry[k] for k in keys} for t, entry in manifest["tables"].items()}
    (folder / "manifest.json").write_text(json.dumps(old))
    found = snapshots(tiny.published)[2]
    assert (found.rows, len(found.changed), found.newest_load, found.lagging) == (7, 3, None, {})
    assert customers_of(folder) == 5


@pytest.mark.parametrize(
    ("damage", "says"),
    [("manifest", "the manifest is damaged"), ("format", "written by a later version"), ("file", "file is missing")],
)
def test_a_damaged_snapshot_is_named(tiny: PublishingShop, damage: str, says: str) -> None:
    folder = current_snapshot(tiny.published)
    manifest = folder / "manifest.json"
    if damage == "manifest":
        manifest.write_text("[]")
    elif damage == "format":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    else:
        (folder / "silver" / "labels.parquet").unlink()
    with pytest.raises(InputError, match=f"{folder.name}(.|\n)*{says}"):
        snapshots(tiny.published)
    with pytest.raises(InputError, match=folder.name):
        open_snapshot(folder)


def test_what_was_opened_through_the_link_stays_the_same_snapshot(tiny: PublishingShop) -> None:
    con = open_snapshot(tiny.published / "current")
    tiny.write(0)
    tiny.publish()
    assert con.execute("select count(*) from silver.customers").fetchall() == [(5,)]
