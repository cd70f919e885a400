"""Old runs go, and what is newest of tables, days and checks stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import text

from ecommerce_platform.orchestration.compaction import give_back_space
from ecommerce_platform.orchestration.partitions import LOAD_JOB
from ecommerce_platform.orchestration.retention import prune_runs
from ecommerce_platform_tests.automation.harness import Shop, make_source, open_home
from ecommerce_platform_tests.automation.test_bookkeeping import KPI, ORDERS, home, on_the_page, server  # noqa: F401
from ecommerce_platform_tests.automation.test_bookkeeping import Shop as Days

DAILY, SUMMARY, RFM = (dg.AssetKey(["gold", n]) for n in ("kpi_daily", "kpi_summary", "rfm"))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_home(tmp_path / "home") as instance:
        yield instance


@pytest.fixture
def shop() -> Shop:
    return Shop(make_source())


def run(shop: Shop, instance: dg.DagsterInstance, job: str, **arguments: object) -> str:
    found = shop.definitions().resolve_job_def(job)
    return found.execute_in_process(instance=instance, raise_on_error=False, **arguments).run_id  # type: ignore[arg-type]


def later(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {record.dagster_run.run_id for record in instance.get_run_records()}


def numbers(instance: dg.DagsterInstance, kind: str) -> int:
    with instance.event_log_storage.index_connection() as connection:
        return int(connection.execute(text(f"select count(*) from {kind}")).scalar_one())


def test_dagsters_own_deletion_of_a_run_deletes_its_materializations(shop: Shop, instance: dg.DagsterInstance):
    """Why `prune_runs` has one of its own; should Dagster change this, it can go."""
    only = run(shop, instance, LOAD_JOB, partition_key="2024-03-01")
    instance.delete_run(only)
    assert instance.get_materialized_partitions(DAILY) == set()
    assert instance.fetch_materializations(SUMMARY, limit=1).records == []


def test_runs_go_after_a_month_and_squares_stay(shop: Shop, instance: dg.DagsterInstance, tmp_path: Path):
    shop.failing.add("2024-03-01")
    failed = run(shop, instance, LOAD_JOB, partition_key="2024-03-01")
    shop.failing.clear()
    made = {run(shop, instance, LOAD_JOB, partition_key=f"2024-03-0{n}") for n in (1, 2, 2, 3)}
    weekly = run(shop, instance, "customer_marts")
    assert prune_runs(instance, now=later(29)).deleted == ()
    summary, rfm = (instance.fetch_materializations(key, limit=1).records[0] for key in (SUMMARY, RFM))
    assert set(prune_runs(instance, now=later(31)).deleted) == {failed, weekly} | made
    assert runs(instance) == set()
    assert instance.get_materialized_partitions(DAILY) == {"2024-03-01", "2024-03-02", "2024-03-03"}
    assert numbers(instance, "event_logs where partition is not null") == 3
    assert [instance.fetch_materializations(key, limit=9).records for key in (SUMMARY, RFM)] == [[summary], [rfm]]
    assert [p.name for p in (tmp_path / "home/history/runs").glob("*.db")] == ["index.db"]
    run(shop, instance, LOAD_JOB, partition_key="2024-03-03")
    assert len(instance.fetch_materializations(SUMMARY, limit=9).records) == 2
    prune_runs(instance, now=later(31))
    assert len(instance.fetch_materializations(SUMMARY, limit=9).records) == 1
    assert numbers(instance, "event_logs") == 3 + 2


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_day_keeps_its_numbers_and_the_newest_its_text(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    days = [date(2024, 1, n) for n in range(1, 10)]
    shop = Days(per_day={day: {"rows_landed": day.day} for day in days})
    with home(kind, tmp_path / "days", request) as instance:
        shop.run(instance, days[0], days[6])
        shop.run(instance, days[6], days[6])
        shop.asked = ()
        last = [shop.run(instance, day, day) for day in days[7:]]
        newest = instance.fetch_materializations(ORDERS, limit=1).records[0]
        assert len(prune_runs(instance, now=later(31)).deleted) == 4
        kept = {r.partition_key: r for r in instance.fetch_materializations(ORDERS, limit=99).records}
        assert kept["2024-01-09"] == newest
        assert newest.run_id == last[-1]
        for day in days[:-1]:
            made = kept[day.isoformat()].asset_materialization
            said = {"rows_landed": dg.IntMetadataValue(day.day)}
            assert {n: made.metadata[n] for n in said} == said
            assert not any(isinstance(v, dg.TextMetadataValue) for v in made.metadata.values())
            assert not made.tags
        assert numbers(instance, "event_logs") == 9 + 1  # and the table without days
        assert numbers(instance, "asset_event_tags") == 2
        assert numbers(instance, "asset_check_executions") == 2
        assert [on_the_page(instance, key, "contract") for key in (ORDERS, KPI)] == ["SUCCEEDED", "SUCCEEDED"]
        shop.asked = ("contract",)
        shop.run(instance, days[8], days[8])
        assert numbers(instance, "asset_check_executions") == 4
        prune_runs(instance, now=later(31))
        assert numbers(instance, "asset_check_executions") == 2


def test_space_is_given_back(tmp_path: Path):
    with open_home(tmp_path / "roomy") as instance:
        entry = "x" * 4000
        index = tmp_path / "roomy/history/runs/index.db"
        instance.event_log_storage.index_connection()
        with closing(sqlite3.connect(index)) as con, con:
            con.executemany("insert into event_logs (event) values (?)", [(entry,)] * 1000)
        with closing(sqlite3.connect(index)) as con, con:
            con.execute("delete from event_logs")
        give_back_space(tmp_path / "roomy")
        assert index.stat().st_size < 400_000


def test_work_is_bounded_and_goes_on_at_the_next_call(shop: Shop, instance: dg.DagsterInstance):
    made = [run(shop, instance, "odd_job") for _ in range(5)]
    first = prune_runs(instance, now=later(31), max_runs=2)
    assert (list(first.deleted), first.unfinished) == (made[:2], True)
    assert prune_runs(instance, now=later(31), max_seconds=-1).deleted == ()
    assert list(prune_runs(instance, now=later(31)).deleted) == made[2:]


def test_captured_output_goes_with_the_run(shop: Shop, instance: dg.DagsterInstance, tmp_path: Path):
    gone = run(shop, instance, "odd_job")
    captured = tmp_path / "home/storage" / gone
    assert captured.is_dir()
    prune_runs(instance, now=later(31))
    assert not captured.exists()


def test_the_job_runs(shop: Shop, instance: dg.DagsterInstance):
    found = shop.definitions().resolve_job_def("prune_runs").execute_in_process(instance=instance)
    assert found.success


def test_runs_in_flight_stay(shop: Shop, instance: dg.DagsterInstance):
    job = shop.definitions().resolve_job_def("odd_job")
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    assert prune_runs(instance, now=later(1000)).deleted == ()
    assert runs(instance) == {waiting}
