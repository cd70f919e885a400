"""Old runs go, and nothing's newest state goes with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from ecommerce_platform.automation.partitions import LOAD_JOB
from ecommerce_platform.automation.retention import prune_runs
from ecommerce_platform_tests.automation.harness import Shop, make_source, open_home

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


def test_deleting_a_run_deletes_its_materializations(shop: Shop, instance: dg.DagsterInstance):
    """Why `prune_runs` is careful; should Dagster change this, the rule can go."""
    only = run(shop, instance, LOAD_JOB, partition_key="2024-03-01")
    instance.delete_run(only)
    assert instance.get_materialized_partitions(DAILY) == set()
    assert instance.fetch_materializations(SUMMARY, limit=1).records == []


def test_failed_runs_go_after_a_month_and_successful_ones_after_three(shop: Shop, instance: dg.DagsterInstance):
    shop.failing.add("2024-03-01")
    failed = run(shop, instance, LOAD_JOB, partition_key="2024-03-01")
    old, new = run(shop, instance, "customer_marts"), run(shop, instance, "customer_marts")
    checks = run(shop, instance, "odd_job")
    assert prune_runs(instance, now=later(29)).deleted == ()
    assert set(prune_runs(instance, now=later(31)).deleted) == {failed}
    assert set(prune_runs(instance, now=later(91)).deleted) == {old, checks}
    assert runs(instance) == {new}
    newest = instance.fetch_materializations(RFM, limit=1).records[0]
    assert newest.run_id == new


def test_runs_of_days_stay(shop: Shop, instance: dg.DagsterInstance):
    loads = {run(shop, instance, LOAD_JOB, partition_key="2024-03-01") for _ in range(2)}
    assert prune_runs(instance, now=later(1000)).deleted == ()
    assert runs(instance) == loads


def test_a_failed_run_that_built_something_newest_stays_until_it_is_built_again(
    shop: Shop, instance: dg.DagsterInstance
):
    @dg.asset(key=DAILY, partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
    def built() -> None: ...

    @dg.asset(deps=[built], partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
    def breaks() -> None:
        raise dg.Failure("told to fail")

    job = dg.Definitions(
        assets=[built, breaks], jobs=[dg.define_asset_job("both")], executor=dg.in_process_executor
    ).resolve_job_def("both")
    failed = job.execute_in_process(instance=instance, partition_key="2024-03-01", raise_on_error=False).run_id
    run(shop, instance, LOAD_JOB, partition_key="2024-03-02")
    pruned = prune_runs(instance, now=later(31))
    assert (pruned.deleted, pruned.kept) == ((), 1)
    run(shop, instance, LOAD_JOB, partition_key="2024-03-01")
    assert prune_runs(instance, now=later(31)).deleted == (failed,)
    assert instance.get_materialized_partitions(DAILY) == {"2024-03-01", "2024-03-02"}


def test_a_run_with_the_newest_result_of_a_check_stays(instance: dg.DagsterInstance):
    @dg.asset
    def table() -> None: ...

    @dg.asset_check(asset=table)
    def whole() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    job = dg.Definitions(
        assets=[table],
        asset_checks=[whole],
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.checks(whole))],
        executor=dg.in_process_executor,
    ).resolve_job_def("checks")
    old, new = (job.execute_in_process(instance=instance).run_id for _ in range(2))
    assert prune_runs(instance, now=later(91)).deleted == (old,)
    assert runs(instance) == {new}


def test_work_is_bounded_and_goes_on_at_the_next_call(shop: Shop, instance: dg.DagsterInstance):
    made = [run(shop, instance, "odd_job") for _ in range(5)]
    first = prune_runs(instance, now=later(91), max_runs=2)
    assert (list(first.deleted), first.unfinished) == (made[:2], True)
    assert prune_runs(instance, now=later(91), max_seconds=-1).deleted == ()
    assert list(prune_runs(instance, now=later(91)).deleted) == made[2:]


def test_captured_output_goes_with_the_run(shop: Shop, instance: dg.DagsterInstance, tmp_path: Path):
    gone = run(shop, instance, "odd_job")
    captured = tmp_path / "home/storage" / gone
    assert captured.is_dir()
    prune_runs(instance, now=later(91))
    assert not captured.exists()


def test_the_job_runs(shop: Shop, instance: dg.DagsterInstance):
    found = shop.definitions().resolve_job_def("prune_runs").execute_in_process(instance=instance)
    assert found.success


def test_runs_in_flight_stay(shop: Shop, instance: dg.DagsterInstance):
    job = shop.definitions().resolve_job_def("odd_job")
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    assert prune_runs(instance, now=later(1000)).deleted == ()
    assert runs(instance) == {waiting}
