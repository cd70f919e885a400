"""Which days have a partition: those between the drops, and on to today while drops come; and none is ever missing."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest

from ecommerce_platform.orchestration.partitions import (
    Days,
    ask_for,
    asked_for,
    current_days,
    daily_partitions,
    days_with_keys,
    today_in,
)
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.automation.harness import Daemon, Shop, make_source, open_home

START, TODAY = date(2016, 9, 4), date(2024, 5, 20)
KPI = dg.AssetKey(["gold", "kpi_daily"])


def days(*texts: str) -> list[date]:
    return [date.fromisoformat(text) for text in texts]


def keys(source_start: str, *drops: str) -> list[str]:
    source = make_source(source_start)
    of = days_with_keys(source.file.start_date, days(*drops), TODAY)
    return list(daily_partitions(source, of).get_partition_keys())


@pytest.mark.parametrize(
    ("drops", "expected"),
    [
        ((), Days(START)),  # nothing is known yet
        (("2018-10-17",), Days(date(2018, 10, 17), date(2018, 10, 17))),
        (("2018-10-17", "2017-01-05"), Days(date(2017, 1, 5), date(2018, 10, 17))),
        (("2024-04-15",), Days(date(2024, 4, 15))),  # 35 days ago: they still come
        (("2024-04-14",), Days(date(2024, 4, 14), date(2024, 4, 14))),
        (("2018-10-17", "2024-05-20"), Days(date(2018, 10, 17))),
        (("2018-10-17", "2024-06-01"), Days(date(2018, 10, 17))),  # waits for its day, which has a key then
        (("2024-06-01",), Days(TODAY)),
        (("2010-01-01", "2018-10-17"), Days(date(2018, 10, 17), date(2018, 10, 17))),  # before the shop's first day
        (("2010-01-01",), Days(START)),
    ],
)
def test_days_run_from_the_first_drop_to_the_newest_or_to_today(drops: tuple[str, ...], expected: Days):
    assert days_with_keys(START, days(*drops), TODAY) == expected


def test_an_export_that_lies_years_back_has_one_key():
    assert keys("2016-09-04", "2018-10-17") == ["2018-10-17"]
    assert keys("2016-09-04", "2018-03-24", "2018-03-26") == ["2018-03-24", "2018-03-25", "2018-03-26"]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Sao_Paulo"])
def test_while_drops_come_the_shops_today_has_a_key(zone: str):
    source = make_source("2016-01-01", time_zone=zone)
    today = today_in(source)
    of = days_with_keys(source.file.start_date, [today - timedelta(days=2)], today)
    expected = [(today - timedelta(days=n)).isoformat() for n in (2, 1, 0)]
    assert daily_partitions(source, of).get_partition_keys() == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_shop_whose_only_drop_is_todays_can_be_loaded(zone: str):
    source = make_source("2016-01-01", time_zone=zone)
    today = today_in(source)
    of = daily_partitions(source, days_with_keys(source.file.start_date, [today], today))
    assert of.get_partition_keys() == [(today - timedelta(days=1)).isoformat(), today.isoformat()]
    assert list(of.subset_with_partition_keys([today.isoformat()]).get_partition_keys()) == [today.isoformat()]


def test_the_landing_zone_is_looked_at_and_left_as_it_is(tmp_path: Path):
    source, settings = make_source("2016-01-01"), Settings(data_dir=tmp_path, DAGSTER_HOME=tmp_path / "home")
    assert current_days(settings, source) == Days(date(2016, 1, 1))
    assert not (tmp_path / "raw").exists()
    for name in (
        "2018-01-02",
        "2018-02-30",
        "not a day",
        ".incoming-2019-01-01-x",
        ".ready-2018-01-05-20240101T000000000000",
    ):
        (tmp_path / "raw" / name).mkdir(parents=True)
    (tmp_path / "raw" / "2018-01-09").write_text("a file")
    assert current_days(settings, source) == Days(date(2018, 1, 2), date(2018, 1, 5))
    store = Settings(data_dir=tmp_path, raw_url="s3://nowhere/raw", DAGSTER_HOME=tmp_path / "home")
    assert current_days(store, source) == Days(date(2016, 1, 1)), "an object store is not asked"


def test_a_day_that_was_ever_asked_for_keeps_its_key(tmp_path: Path):
    source, settings = make_source("2016-01-01"), Settings(data_dir=tmp_path, DAGSTER_HOME=tmp_path)
    (tmp_path / "raw" / "2018-01-02").mkdir(parents=True)
    assert asked_for(tmp_path) == ()
    ask_for(tmp_path, date(2018, 1, 1), date(2018, 1, 5))
    ask_for(tmp_path, date(2018, 1, 3), date(2018, 1, 3))
    assert current_days(settings, source) == Days(date(2018, 1, 1), date(2018, 1, 5))
    (tmp_path / ".days").write_text("damaged")
    assert current_days(settings, source) == Days(date(2018, 1, 2), date(2018, 1, 2))
    ask_for(tmp_path, date(2018, 1, 3), date(2018, 1, 3))
    assert asked_for(tmp_path) == (date(2018, 1, 3), date(2018, 1, 3))


@pytest.mark.parametrize("drop", ["2024-05-20", "2018-10-20", "2017-03-01"])
def test_a_drop_that_comes_after_the_definitions_were_loaded_is_loaded_and_has_a_square_in_the_next(
    tmp_path: Path, drop: str
):
    """Tick by tick: the daemon plans with what it loaded when the export had ended; the run loads its own."""
    from ecommerce_platform.orchestration.sensors import drop_sensor

    raw, settings = tmp_path / "raw", Settings(data_dir=tmp_path, DAGSTER_HOME=tmp_path / "home")
    source = make_source(START.isoformat())
    put(raw, "2018-10-17")
    old = current_days(settings, source, TODAY)
    assert old == Days(date(2018, 10, 17), date(2018, 10, 17))
    sensor = drop_sensor(settings, source, shown=old, today=lambda: TODAY)
    with open_home(tmp_path / "home") as instance:
        daemon = Daemon(instance, Shop(source, days=old).definitions(sensor), sensor, runs="hold")
        assert [daemon.tick().days for _ in range(2)] == [(), ("2018-10-17",)]
        daemon.settle(succeeded=True)
        put(raw, drop)
        assert [daemon.tick().days for _ in range(2)] == [(), (drop,)]
        (held,) = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED]))
        planned = instance.get_latest_planned_materialization_info(KPI, drop)
        assert planned is not None
        assert planned.run_id == held.dagster_run.run_id
        shop = Shop(source, days=current_days(settings, source, TODAY))
        job = shop.definitions().resolve_job_def(held.dagster_run.job_name)
        assert job.execute_in_process(instance=instance, tags=held.dagster_run.tags).success
        assert shop.loaded == [(drop,)]
        daemon.settle(succeeded=True)


def test_a_day_whose_drop_is_taken_away_after_it_was_loaded_can_be_taken_back(tmp_path: Path):
    from ecommerce_platform.orchestration.sensors import drop_sensor

    raw, settings = tmp_path / "raw", Settings(data_dir=tmp_path, DAGSTER_HOME=tmp_path / "home")
    source = make_source(START.isoformat())
    put(raw, "2018-10-17")
    put(raw, "2018-10-19")
    sensor = drop_sensor(settings, source, today=lambda: TODAY)
    with open_home(tmp_path / "home") as instance:

        def daemon(cursor: str | None) -> Daemon:
            shop = Shop(source, days=current_days(settings, source, TODAY))
            return Daemon(instance, shop.definitions(sensor), sensor, cursor=cursor)

        first = daemon(None)
        assert [first.tick().days for _ in range(2)] == [(), ("2018-10-17", "2018-10-19")]
        (raw / "2018-10-19" / "orders.csv").unlink()
        (raw / "2018-10-19").rmdir()
        again = daemon(first.cursor)
        assert [again.tick().days for _ in range(2)] == [(), ("2018-10-19",)]
        (newest,) = instance.get_run_records(limit=1)
        assert newest.dagster_run.status == dg.DagsterRunStatus.SUCCESS


def test_the_only_drop_may_be_todays(tmp_path: Path):
    from ecommerce_platform.orchestration.sensors import drop_sensor

    source, raw = make_source(START.isoformat()), tmp_path / "raw"
    settings, today = Settings(data_dir=tmp_path, DAGSTER_HOME=tmp_path / "home"), today_in(source)
    put(raw, today.isoformat())
    sensor = drop_sensor(settings, source)
    with open_home(tmp_path / "home") as instance:
        shop = Shop(source, days=current_days(settings, source))
        daemon = Daemon(instance, shop.definitions(sensor), sensor)
        assert [daemon.tick().days for _ in range(2)] == [(), (today.isoformat(),)]
        (newest,) = instance.get_run_records(limit=1)
        assert newest.dagster_run.status == dg.DagsterRunStatus.SUCCESS


def test_the_sensor_says_which_days_have_no_square_yet(tmp_path: Path):
    from ecommerce_platform.orchestration.sensors import drop_sensor

    put(tmp_path / "raw", "2018-10-20")
    settings, source = Settings(data_dir=tmp_path), make_source(START.isoformat())
    said: list[str] = []
    for shown in (Days(date(2018, 10, 17), date(2018, 10, 17)), Days(date(2018, 10, 17)), None):
        sensor = drop_sensor(settings, source, shown=shown, today=lambda: TODAY)
        with dg.DagsterInstance.ephemeral() as instance:
            daemon = Daemon(instance, Shop(source).definitions(sensor), sensor, runs="hold")
            daemon.tick()
            with daemon.context() as context, patch.object(context.log, "warning", said.append):
                sensor(context)
    assert len(said) == 1
    assert "2018-10-20" in said[0]
    assert "reload" in said[0]


REMEMBERED = """
import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.partitions.subset import AllPartitionsSubset, TimeWindowPartitionsSubset as Subset
from ecommerce_platform.orchestration.partitions import remember_ranges

daily = [
    dg.DailyPartitionsDefinition(start_date="2024-03-01", end_date="2024-12-01", timezone=zone, end_offset=offset)
    for zone in ("Europe/Berlin", "UTC") for offset in (0, 1)
]
ranges = [("2024-03-01", "2024-03-01"), ("2024-03-30", "2024-04-02"), ("2024-10-26", "2024-11-30")]

def worked_out():
    for of in daily:
        for first, last in ranges:
            subset = of.empty_subset().with_partition_key_range(of, dg.PartitionKeyRange(first, last))
            more = subset.with_partition_key_range(of, dg.PartitionKeyRange("2024-06-01", "2024-06-02"))
            yield subset, more, subset.get_partition_keys(), more.get_partition_keys(), subset.num_partitions

def all_keys():
    with partition_loading_context(dynamic_partitions_store=dg.DagsterInstance.ephemeral()) as context:
        return [list(AllPartitionsSubset(of, context).get_partition_keys()) for of in daily]

dagsters_own, dagsters_all = list(worked_out()), all_keys()
calls, counted = [], Subset._add_partitions_to_time_windows
Subset._add_partitions_to_time_windows = lambda *a, **k: calls.append(a) or counted(*a, **k)
remember_ranges()
remember_ranges()
assert list(worked_out()) == dagsters_own
assert all_keys() == all_keys() == dagsters_all
once = len(calls)
next(worked_out())[2].clear()
assert list(worked_out()) == dagsters_own
assert len(calls) == 2 * once - len(daily) * len(ranges) + 1, (len(calls), once)  # ranges that extend others go through
"""


def test_ranges_that_are_remembered_are_those_dagster_works_out():
    done = subprocess.run([sys.executable, "-c", REMEMBERED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def put(raw: Path, day: str) -> None:
    (raw / day).mkdir(parents=True)
    (raw / day / "orders.csv").write_text(f"id\n{day}\n")
