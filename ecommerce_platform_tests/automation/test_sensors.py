"""The drop sensor as the daemon drives it: what is launched, once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from fsspec.core import url_to_fs

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.ingestion.bronze import load_bronze
from ecommerce_platform.ingestion.zone import LocalZone
from ecommerce_platform.orchestration.partitions import LOAD_JOB, ONLY_PENDING
from ecommerce_platform.orchestration.resources import open_warehouse
from ecommerce_platform.orchestration.sensors import VERSIONS_TAG, drop_sensor
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.automation.harness import Daemon, Shop, make_source, open_home
from ecommerce_platform_tests.ingestion.test_watch import EtagFileSystem, put
from ecommerce_platform_tests.objectstores import Bucket

TODAY = date(2024, 6, 30)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "data/raw").mkdir(parents=True)
    return tmp_path / "data/raw"


@pytest.fixture
def shop() -> Shop:
    return Shop(make_source())


@pytest.fixture
def daemon(raw: Path, shop: Shop):
    sensor = drop_sensor(Settings(data_dir=raw.parent), shop.source, today=lambda: TODAY)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(instance, shop.definitions(sensor), sensor)


def drop(raw: Path, day: str, *names: str, content: str = "x") -> None:
    (raw / day).mkdir(exist_ok=True)
    for name in names:
        (raw / day / name).write_text(content)


def test_a_drop_that_arrives_in_pieces_is_loaded_once_it_is_whole(raw: Path, daemon: Daemon, shop: Shop):
    drop(raw, "2024-03-01", "orders.csv")
    first = daemon.tick()
    assert not first.launched
    assert "Waiting until 2024-03-01 look the same" in (first.skipped or "")
    drop(raw, "2024-03-01", "items.csv")
    assert not daemon.tick().launched
    assert len(daemon.tick().launched) == 1
    assert shop.loaded == [("2024-03-01",)]
    assert "No new" in (daemon.tick().skipped or "")


def test_the_marker_says_that_a_drop_is_whole(raw: Path, daemon: Daemon, shop: Shop):
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    drop(raw, "2024-03-02", "orders.csv", "_SUCCESS")
    daemon.tick()
    assert shop.loaded == [("2024-03-01", "2024-03-02")]
    assert not daemon.tick().launched


def test_a_run_covers_its_range_and_leaves_alone_what_is_loaded(raw: Path, daemon: Daemon):
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    drop(raw, "2024-03-02", "orders.csv", "_SUCCESS")
    run = daemon.instance.get_run_by_id(daemon.tick().launched[0])
    assert run is not None
    assert run.job_name == LOAD_JOB
    assert run.is_success
    assert run.tags[ONLY_PENDING] == "true"
    assert run.tags["dagster/asset_partition_range_start"] == "2024-03-01"
    assert run.tags["dagster/asset_partition_range_end"] == "2024-03-02"
    assert run.tags[VERSIONS_TAG].count("#1") == 2
    key = dg.AssetKey(["gold", "kpi_daily"])
    assert daemon.instance.get_materialized_partitions(key) == {"2024-03-01", "2024-03-02"}


def test_corrected_removed_and_restored_drops_are_loaded_again(raw: Path, daemon: Daemon, shop: Shop):
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    drop(raw, "2024-03-05", "orders.csv", "_SUCCESS")
    assert len(daemon.tick().launched) == 2
    drop(raw, "2024-03-01", "orders.csv", content="corrected")
    assert daemon.tick().days == ("2024-03-01",)
    aside = raw.parent / "aside"
    (raw / "2024-03-01").rename(aside)
    assert not daemon.tick().days
    assert daemon.tick().days == ("2024-03-01",)
    assert not daemon.tick().days
    aside.rename(raw / "2024-03-01")
    restored = daemon.tick()
    assert restored.days == ("2024-03-01",)
    assert len(restored.launched) == 1, "the very same files were loaded before, under another run key"
    assert Counter(day for days in shop.loaded for day in days) == {"2024-03-01": 4, "2024-03-05": 1}


def load(raw: Path, source) -> None:
    """What the runs would load, which are dummies here."""
    with open_warehouse(Settings(data_dir=raw.parent)).connect() as con:
        for name, files in LocalZone(raw).drops(source).tables.items():
            days = {file.day for file in files}
            load_bronze(con, source, name, files, days, expected=(), required={}, scratch=raw.parent / "tmp")


def test_a_restored_landing_zone_asks_for_no_runs(raw: Path, daemon: Daemon, shop: Shop):
    for day in ("2024-03-01", "2024-03-02", "2024-03-05"):
        drop(raw, day, "orders.csv", "_SUCCESS", content=f"id\n{day}\n")
    assert len(daemon.tick().launched) == 2
    load(raw, shop.source)
    for path in raw.rglob("*.csv"):
        os.utime(path, ns=(1, 1))
    drop(raw, "2024-03-02", "orders.csv", content="id\n2024-03-03\n")  # restored, and of the same size, but another
    tick = daemon.tick()
    assert tick.days == ("2024-03-02",)
    assert not daemon.tick().days
    os.utime(raw / "2024-03-05" / "orders.csv", ns=(2, 2))
    assert "2024-03-05 look different and hold the bytes that were loaded" in (daemon.tick().skipped or "")


def test_while_a_run_holds_the_warehouse_a_touched_day_is_asked_for(
    raw: Path, daemon: Daemon, shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    load(raw, shop.source)
    os.utime(raw / "2024-03-01" / "orders.csv", ns=(1, 1))
    monkeypatch.setattr("ecommerce_platform.orchestration.sensors._LOOK_PATIENCE", 0)
    script = "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(raw.parent / "warehouse.duckdb")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert daemon.tick().days == ("2024-03-01",)
    finally:
        holder.communicate("\n")


def test_a_failed_run_is_not_asked_for_again_before_its_files_change(raw: Path, daemon: Daemon, shop: Shop):
    shop.failing.add("2024-03-01")
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    run = daemon.instance.get_run_by_id(daemon.tick().launched[0])
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert not any(daemon.tick().launched for _ in range(3))
    shop.failing.clear()
    drop(raw, "2024-03-01", "orders.csv", content="repaired")
    daemon.tick()
    assert shop.loaded == [("2024-03-01",)]


def test_what_has_no_partition_or_no_date_is_said_and_the_rest_goes_on(raw: Path, daemon: Daemon):
    for folder in ("2023-12-31", "2024-03-01", "2024-07-01", "backup"):
        drop(raw, folder, "orders.csv", "_SUCCESS")
    assert daemon.tick().days == ("2024-03-01",)
    said = daemon.tick().skipped or ""
    assert "set start_date: 2023-12-31 in shop/source.yml" in said
    assert "2024-07-01" in said
    assert "'backup' is not a day" in said


def test_a_landing_zone_that_does_not_exist_yet_is_no_error(raw: Path, daemon: Daemon):
    raw.rmdir()
    assert "does not exist" in (daemon.tick().skipped or "")


def test_one_tick_that_cannot_list_fails_and_the_next_goes_on(raw: Path, daemon: Daemon):
    drop(raw, "2024-03-01", "orders.csv")
    daemon.tick()
    cursor = daemon.cursor
    raw.rename(raw.with_name("away"))
    daemon.fails("no such landing zone")
    assert daemon.cursor == cursor
    raw.with_name("away").rename(raw)
    assert daemon.tick().days == ("2024-03-01",)


# ----------------------------------------------------------------------------------------------------- restarts


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_a_daemon_that_dies_in_the_middle_of_a_tick_launches_nothing_twice(
    raw: Path, daemon: Daemon, shop: Shop, dies_after: int | None
):
    for day in ("2024-03-01", "2024-03-03", "2024-03-05"):
        drop(raw, day, "orders.csv", "_SUCCESS")
    daemon.tick(dies_after=dies_after, dies_before_saving=True)
    assert daemon.cursor is None
    daemon.tick()
    assert not daemon.tick().launched
    assert sorted(shop.loaded) == [("2024-03-01",), ("2024-03-03",), ("2024-03-05",)]


def test_what_a_lost_tick_launched_is_left_to_its_run_even_when_days_are_grouped_otherwise(raw: Path, daemon: Daemon):
    daemon.runs = "hold"
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    drop(raw, "2024-03-01", "orders.csv", content="corrected")
    daemon.tick(dies_before_saving=True)
    drop(raw, "2024-03-02", "orders.csv", "_SUCCESS")
    assert daemon.tick().days == ("2024-03-02",)
    daemon.settle(succeeded=True)
    assert not daemon.tick().days


def test_a_correction_while_the_load_is_in_flight_is_asked_for(raw: Path, daemon: Daemon):
    daemon.runs = "hold"
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    assert not daemon.tick().days
    drop(raw, "2024-03-01", "orders.csv", content="corrected")
    assert daemon.tick().days == ("2024-03-01",)
    daemon.settle(succeeded=False)
    assert not daemon.tick().days


@pytest.mark.parametrize("cursor", ["nonsense", '{"v":0}', None])
def test_a_lost_cursor_starts_anew(raw: Path, daemon: Daemon, shop: Shop, cursor: str | None):
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    daemon.cursor = cursor
    again = daemon.tick()
    assert len(again.launched) == 1, "whoever resets the cursor wants everything asked for again"
    assert shop.loaded == [("2024-03-01",)] * 2
    assert not daemon.tick().days


def test_a_lost_cursor_does_not_ask_for_what_is_in_flight(raw: Path, daemon: Daemon):
    daemon.runs = "hold"
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    daemon.cursor = None
    drop(raw, "2024-03-02", "orders.csv")
    tick = daemon.tick()
    assert not tick.days
    assert "A run in flight covers 2024-03-01" in (tick.skipped or "")
    daemon.settle(succeeded=True)
    assert daemon.tick().days == ("2024-03-02",)


@pytest.mark.parametrize(
    ("status", "covers"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, True),
        (dg.DagsterRunStatus.QUEUED, True),
        (dg.DagsterRunStatus.STARTING, True),
        (dg.DagsterRunStatus.STARTED, True),
        (dg.DagsterRunStatus.FAILURE, False),
        (dg.DagsterRunStatus.CANCELED, False),
        (dg.DagsterRunStatus.SUCCESS, False),
    ],
)
def test_a_run_covers_its_days_from_when_it_is_queued_until_it_ends(
    raw: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, status: dg.DagsterRunStatus, covers: bool
):
    daemon.runs = "hold"
    drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
    daemon.tick()
    # A queued run cannot be made without a code server, so the run stands there in whatever state is asked for.
    records = daemon.instance.get_run_records()
    monkeypatch.setattr(
        daemon.instance, "get_run_records", lambda filters, *rest, **more: records if status in filters.statuses else []
    )
    daemon.cursor = None
    assert daemon.tick().days == (() if covers else ("2024-03-01",))


# --------------------------------------------------------------------------------------------------- other zones


def test_an_object_store_is_watched_in_the_same_way(shop: Shop):
    fs = EtagFileSystem(skip_instance_cache=True)
    zone = (fs, "/bucket/raw")
    sensor = drop_sensor(Settings(), shop.source, zone=lambda: zone, today=lambda: TODAY)
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(instance, shop.definitions(sensor), sensor, runs="succeed")
        assert "no drops yet" in (daemon.tick().skipped or "")
        put(zone, "2024-03-01/orders.csv", b"1")
        assert not daemon.tick().days
        put(zone, "2024-03-01/items.csv", b"1")
        assert not daemon.tick().days
        assert daemon.tick().days == ("2024-03-01",)
        put(zone, "2024-03-01/items.csv", b"1")
        assert not daemon.tick().days, "uploaded again with the same content: the etag is the same"
        assert not daemon.tick().days
        put(zone, "2024-03-01/items.csv", b"2")
        assert not daemon.tick().days
        assert daemon.tick().days == ("2024-03-01",)
        put(zone, "2024-03-02/items.csv", b"2")
        put(zone, "2024-03-02/_SUCCESS", b"")
        assert daemon.tick().days == ("2024-03-02",)


def test_more_days_than_one_tick_asks_for_are_all_asked_for_exactly_once(raw: Path):
    shop, days = Shop(make_source("2020-01-01")), 400
    for n in range(days):
        folder = raw / (date(2020, 1, 1) + timedelta(days=n)).isoformat()
        folder.mkdir()
        (folder / "orders.csv").touch()
    sensor = drop_sensor(Settings(data_dir=raw.parent), shop.source, today=lambda: TODAY)
    asked: Counter[str] = Counter()
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(instance, shop.definitions(sensor), sensor, runs="succeed")
        for _ in range(4):
            tick = daemon.tick()
            assert len(tick.requested) <= 10
            asked.update(tick.days)
    assert len(asked) == days
    assert set(asked.values()) == {1}


def test_the_watch_uses_the_platforms_own_instance(raw: Path, tmp_path: Path, shop: Shop):
    sensor = drop_sensor(Settings(data_dir=raw.parent), shop.source, today=lambda: TODAY)
    with open_home(tmp_path / "home") as instance:
        daemon = Daemon(instance, shop.definitions(sensor), sensor)
        drop(raw, "2024-03-01", "orders.csv", "_SUCCESS")
        daemon.tick()
    with open_home(tmp_path / "home") as instance:  # a restart: the cursor and the instance are all there is
        after = Daemon(instance, shop.definitions(sensor), sensor, cursor=daemon.cursor)
        assert not after.tick().days
        drop(raw, "2024-03-02", "orders.csv", "_SUCCESS")
        assert after.tick().days == ("2024-03-02",)
    assert shop.loaded == [("2024-03-01",), ("2024-03-02",)]


def test_what_is_on_by_itself(shop: Shop, raw: Path):
    sensor = drop_sensor(Settings(data_dir=raw.parent), shop.source)
    definitions = shop.definitions(sensor)
    repository = definitions.get_repository_def()
    running = {s.name for s in repository.sensor_defs if s.default_status == dg.DefaultSensorStatus.RUNNING}
    running |= {s.name for s in repository.schedule_defs if s.default_status == dg.DefaultScheduleStatus.RUNNING}
    assert running == {"dead_runs", "prune_history"}
    assert {s.name for s in repository.sensor_defs} == {"raw_drops", "dead_runs", "automation"}


def test_drops_in_an_object_store_are_asked_for_when_they_come_change_and_go(
    bucket: Bucket, shop: Shop, tmp_path: Path
):
    settings = Settings(data_dir=tmp_path, raw_url=f"{bucket.url}/raw")
    sensor = drop_sensor(settings, shop.source, today=lambda: TODAY)
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(instance, shop.definitions(sensor), sensor)
        assert "There are no drops yet" in (daemon.tick().skipped or "")
        bucket.put("raw/2024-03-01/orders.csv", "1")
        bucket.put("raw/2024-03-05/orders.csv", "1")
        assert not daemon.tick().days, "not complete before it looks the same twice"
        assert daemon.tick().days == ("2024-03-01", "2024-03-05")
        assert not daemon.tick().days
        bucket.put("raw/2024-03-01/orders.csv", "2")
        bucket.put("raw/2024-03-01/_SUCCESS", "")
        assert daemon.tick().days == ("2024-03-01",)
        bucket.remove("raw/2024-03-01/orders.csv", "raw/2024-03-01/_SUCCESS")
        assert not daemon.tick().days
        assert daemon.tick().days == ("2024-03-01",)
        assert not daemon.tick().days
    assert Counter(day for days in shop.loaded for day in days) == {"2024-03-01": 3, "2024-03-05": 1}


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_down_or_empty_asks_for_nothing_and_forgets_nothing(bucket: Bucket, shop: Shop, tmp_path: Path):
    settings = Settings(data_dir=tmp_path, raw_url=f"{bucket.url}/raw")
    sensor = drop_sensor(settings, shop.source, today=lambda: TODAY)
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(instance, shop.definitions(sensor), sensor)
        bucket.put("raw/2024-03-01/orders.csv", "1")
        bucket.put("raw/2024-03-01/_SUCCESS", "")
        daemon.tick()
        bucket.gate.shut()
        with pytest.raises(PlatformError, match="cannot be reached or does not answer"):
            daemon.tick()
        bucket.gate.open()
        assert not daemon.tick().days
        bucket.remove(*bucket.names())
        for _ in range(3):
            with pytest.raises(PlatformError, match="nothing is loaded or taken back"):
                daemon.tick()
        bucket.put("raw/2024-03-02/orders.csv", "1")
        bucket.put("raw/2024-03-02/_SUCCESS", "")
        assert daemon.tick().days == ("2024-03-02",)
    assert shop.loaded == [("2024-03-01",), ("2024-03-02",)]


def test_the_local_zone_is_the_raw_folder(tmp_path: Path):
    fs, root = url_to_fs(str(Settings(data_dir=tmp_path).raw))
    assert (fs.protocol[0], root) == ("file", str(tmp_path / "raw"))
