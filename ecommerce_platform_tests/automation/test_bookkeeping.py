"""What a build leaves in Dagster's history, on SQLite and on PostgreSQL: rows, squares, verdicts."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from sqlalchemy import text

from ecommerce_platform.orchestration.assets.declare import Outcome, Step, table_asset
from ecommerce_platform.orchestration.partitions import range_tags
from ecommerce_platform.orchestration.resources import WarehouseResource
from ecommerce_platform.warehouse.write import Written
from ecommerce_platform_tests.automation.test_event_log import OURS, opened
from ecommerce_platform_tests.databases import Server, serve

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
ORDERS, KPI = dg.AssetKey(["silver", "orders"]), dg.AssetKey(["gold", "kpi"])
PLANNING = "instance_class: {module: ecommerce_platform.orchestration.planning, class: PlatformInstance}\n"
FIRST, LAST = date(2024, 1, 2), date(2024, 1, 5)


@dataclass
class Shop:
    """A table of days and one that is made from it; what they do next is set from outside."""

    asked: Sequence[str] = ("contract",)
    changed: bool = True
    passed: bool = True
    failing: bool = False
    per_day: dict[date, dict[str, Any]] = field(default_factory=dict)

    def definitions(self) -> dg.Definitions:
        def work(step: Step) -> Outcome:
            if self.failing:
                raise dg.Failure("broken", allow_retries=False)
            key = step.context.asset_key
            checks = [dg.AssetCheckResult(passed=self.passed, check_name=n, asset_key=key) for n in self.asked]
            return Outcome(Written(7, 0, 0, 0, (), changed=self.changed), {"preview": "text"}, self.per_day, checks)

        def table(key: dg.AssetKey, days: dg.PartitionsDefinition[str] | None, **more: Any) -> dg.AssetsDefinition:
            specs = [dg.AssetCheckSpec(name, asset=key) for name in ("contract", "whole")]
            return table_asset(key, work, checks=specs, partitions=days, code_version="7", **more)

        warehouse = WarehouseResource(database="nowhere", source="shop", connection_config={})
        return dg.Definitions(
            assets=[table(ORDERS, DAYS), table(KPI, None, deps=[ORDERS])],
            resources={"warehouse": warehouse},
            executor=dg.in_process_executor,
        )

    def run(self, instance: dg.DagsterInstance, first: date = FIRST, last: date = LAST) -> str:
        job = self.definitions().resolve_implicit_global_asset_job_def()
        done = job.execute_in_process(instance=instance, tags=range_tags(first, last), raise_on_error=False)
        assert done.success != self.failing
        return done.run_id


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("postgresql") as found:
        yield found


@contextmanager
def home(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    if kind == "sqlite":
        with opened(folder, PLANNING + OURS) as instance:
            yield instance
        return
    server: Server = request.getfixturevalue("server")
    with server.database() as name:
        url = server.url_of(name).replace("postgresql://", "postgresql+psycopg2://")
        with opened(folder, f"{PLANNING}storage: {{postgres: {{postgres_url: '{url}'}}}}\n") as instance:
            yield instance


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.shops)])
def instance(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    with home(request.param, tmp_path / "home", request) as found:
        yield found


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with opened(tmp_path / "home", PLANNING + OURS) as found:
        yield found


def rows(instance: dg.DagsterInstance, query: str) -> list[tuple[Any, ...]]:
    with instance.event_log_storage.index_connection() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def kinds(instance: dg.DagsterInstance) -> Counter[str]:
    found = rows(instance, "select dagster_event_type, count(*) from event_logs where asset_key is not null or "
                           "dagster_event_type like 'ASSET_CHECK%' group by 1")  # fmt: skip
    return Counter(dict(found))


def check_rows(instance: dg.DagsterInstance) -> list[tuple[Any, ...]]:
    return rows(
        instance,
        "select asset_key, check_name, partition, execution_status from asset_check_executions order by 1, 2, 3",
    )


def on_the_page(instance: dg.DagsterInstance, key: dg.AssetKey, check: str) -> str | None:
    """What the UI says of a check: the verdict that its resolver finds for the newest materialization."""
    name = dg.AssetCheckKey(key, check)
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([name]).get(name)
    context = LoadingContextForTest(instance)
    if found is None or not asyncio.run(found.targets_latest_materialization(context)):
        return None
    return asyncio.run(found.resolve_status(context)).value


def squares(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    status = get_and_update_asset_status_cache_value(instance, ORDERS, DAYS)
    assert status is not None
    return {
        "made": sorted(status.deserialize_materialized_partition_subsets(DAYS).get_partition_keys()),
        "failed": sorted(status.deserialize_failed_partition_subsets(DAYS).get_partition_keys()),
        "in progress": sorted(status.deserialize_in_progress_partition_subsets(DAYS).get_partition_keys()),
    }


IN_RANGE = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]


# -- checks --------------------------------------------------------------------------------------------------------


def test_a_check_has_a_row_when_it_was_asked_and_none_for_each_day(instance: dg.DagsterInstance) -> None:
    Shop().run(instance)
    assert check_rows(instance) == [
        (KPI.to_string(), "contract", None, "SUCCEEDED"),
        (ORDERS.to_string(), "contract", None, "SUCCEEDED"),
    ]
    assert kinds(instance)["ASSET_CHECK_EVALUATION_PLANNED"] == 0
    Shop(asked=()).run(instance)
    assert len(check_rows(instance)) == 2


def test_dagsters_own_instance_plans_a_row_per_check_and_day(tmp_path: Path) -> None:
    """When this fails, Dagster has stopped doing it, and `planning.py` may go."""
    with opened(tmp_path / "home", OURS) as own:
        Shop(asked=()).run(own)
        assert Counter(row[0] for row in check_rows(own)) == {ORDERS.to_string(): 8, KPI.to_string(): 8}


@pytest.mark.parametrize("passed", [True, False])
def test_a_check_that_was_not_asked_again_keeps_its_verdict_on_the_page(
    instance: dg.DagsterInstance, passed: bool
) -> None:
    verdict = "SUCCEEDED" if passed else "FAILED"
    Shop(passed=passed).run(instance)
    assert [on_the_page(instance, key, "contract") for key in (ORDERS, KPI)] == [verdict, verdict]
    for first, changed in ((FIRST, False), (date(2024, 1, 6), False), (date(2024, 1, 7), True)):
        Shop(asked=(), changed=changed).run(instance, first, max(first, LAST))
        assert [on_the_page(instance, key, "contract") for key in (ORDERS, KPI)] == [verdict, verdict]
    assert [on_the_page(instance, key, "whole") for key in (ORDERS, KPI)] == [None, None]
    Shop(passed=not passed).run(instance)
    assert on_the_page(instance, KPI, "contract") == ("FAILED" if passed else "SUCCEEDED")


def test_a_check_from_outside_the_step_stands_only_while_no_row_has_changed(instance: dg.DagsterInstance) -> None:
    Shop().run(instance)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=KPI, check_name="rules", passed=True, metadata={})
    )
    Shop(asked=(), changed=False).run(instance)
    assert on_the_page(instance, KPI, "rules") == "SUCCEEDED"
    Shop(asked=(), changed=True).run(instance)
    assert on_the_page(instance, KPI, "rules") is None


# -- days ----------------------------------------------------------------------------------------------------------


def test_a_range_leaves_one_plan_and_a_lean_materialization_per_day(instance: dg.DagsterInstance) -> None:
    numbers = {
        date(2024, 1, 3): {"rows_landed": 5},
        date(2024, 1, 5): {"rows_landed": 6},
        date(2024, 1, 9): {"rows": 1},
    }
    run_id = Shop(per_day=numbers).run(instance)
    sqlite = type(instance.event_log_storage).__name__ == "EventLog"
    assert kinds(instance)["ASSET_MATERIALIZATION"] == 4 + 1
    assert kinds(instance)["ASSET_MATERIALIZATION_PLANNED"] == (2 if sqlite else 8)  # of the table without days, too
    made = {r.partition_key: r for r in instance.fetch_materializations(ORDERS, limit=9).records}
    said = {day: r.asset_materialization.metadata for day, r in made.items()}
    assert {r.run_id for r in made.values()} == {run_id}
    assert said["2024-01-02"] == {}
    assert said["2024-01-03"] == {"rows_landed": dg.IntMetadataValue(5)}
    assert said["2024-01-05"]["rows_landed"] == dg.IntMetadataValue(6)
    assert said["2024-01-05"]["preview"] == dg.TextMetadataValue("text")
    assert said["2024-01-05"]["days_in_one_run"] == dg.IntMetadataValue(4)
    newest = instance.get_asset_records([ORDERS])[0].asset_entry
    assert (
        newest.last_materialization_storage_id
        == made["2024-01-05"].storage_id
        == max(r.storage_id for r in made.values())
    )
    assert squares(instance) == {"made": IN_RANGE, "failed": [], "in progress": []}
    in_log = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert len(in_log) == (2 if sqlite else 5)


def test_the_last_day_has_the_tags_that_dagster_gives_a_single_day(instance: dg.DagsterInstance) -> None:
    shop = Shop()
    shop.run(instance)
    of_range = instance.fetch_materializations(ORDERS, limit=1).records[0].asset_materialization
    below_range = instance.fetch_materializations(KPI, limit=1).records[0].asset_materialization
    shop.run(instance, LAST, LAST)
    of_day = instance.fetch_materializations(ORDERS, limit=1).records[0].asset_materialization
    below_day = instance.fetch_materializations(KPI, limit=1).records[0].asset_materialization
    assert of_range.tags == of_day.tags
    assert of_range.partition == of_day.partition == "2024-01-05"
    assert of_day.tags["dagster/code_version"] == "7"
    pointer = "dagster/input_event_pointer/silver/orders"
    assert below_range.tags.keys() == below_day.tags.keys() >= {pointer}


def test_what_is_serialised_once_reads_back_as_dagster_would_have_written_it(sqlite: dg.DagsterInstance) -> None:
    from dagster._serdes import serialize_value

    Shop(per_day={date(2024, 1, 3): {"rows": 1}}).run(sqlite, FIRST, date(2024, 1, 9))
    stored = rows(sqlite, "select event, partition from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'")
    read = {r.partition_key: r.event_log_entry for r in sqlite.fetch_materializations(ORDERS, limit=9).records}
    assert len(read) == 8
    assert sorted(day for _, day in stored if day) == sorted(read)
    for event, day in stored:
        if day:
            assert event == serialize_value(read[day])
            assert read[day].get_dagster_event().step_materialization_data.materialization.partition == day


def test_what_a_range_depends_on_waits_for_it_and_runs(instance: dg.DagsterInstance) -> None:
    run_id = Shop().run(instance)
    stats = {s.step_key: s.status.value for s in instance.get_run_step_stats(run_id)}
    assert stats == {"silver__orders": "SUCCESS", "gold__kpi": "SUCCESS"}


# -- what the partitions page is made of ------------------------------------------------------------------------------


def test_a_failed_range_is_red_until_its_days_are_made(instance: dg.DagsterInstance) -> None:
    Shop().run(instance, date(2024, 1, 3), date(2024, 1, 4))
    Shop(failing=True).run(instance)
    assert squares(instance) == {"made": ["2024-01-03", "2024-01-04"], "failed": IN_RANGE, "in progress": []}
    Shop().run(instance, date(2024, 1, 4), date(2024, 1, 5))
    assert squares(instance)["failed"] == ["2024-01-02", "2024-01-03"]
    Shop().run(instance)
    assert squares(instance) == {"made": IN_RANGE, "failed": [], "in progress": []}


def test_a_range_is_in_progress_from_its_plan_to_its_end(instance: dg.DagsterInstance) -> None:
    Shop().run(instance, FIRST, FIRST)
    job = Shop().definitions().resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, tags=range_tags(FIRST, LAST), status=dg.DagsterRunStatus.STARTED)
    assert squares(instance)["in progress"] == IN_RANGE
    planned = instance.get_latest_planned_materialization_info(ORDERS, "2024-01-04")
    assert planned is not None
    assert planned.run_id == run.run_id
    assert instance.get_latest_planned_materialization_info(ORDERS, "2024-01-09") is None
    instance.report_run_canceled(run)
    assert squares(instance) == {"made": ["2024-01-02"], "failed": [], "in progress": []}


def test_what_an_older_version_has_planned_day_by_day_counts_too(tmp_path: Path) -> None:
    with opened(tmp_path / "home", "") as own:
        job = Shop().definitions().resolve_implicit_global_asset_job_def()
        started = own.create_run_for_job(job, tags=range_tags(FIRST, LAST), status=dg.DagsterRunStatus.STARTED)
        before = squares(own)
    with opened(tmp_path / "home", PLANNING + OURS) as ours:
        assert squares(ours) == before == {"made": [], "failed": [], "in progress": IN_RANGE}
        ours.report_run_failed(started)
        assert squares(ours)["failed"] == IN_RANGE
