"""From a failing run to a mail and a webhook: the sensor with a real instance, a real SMTP server, a real endpoint."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import duckdb
import pytest
from pydantic import SecretStr

from ecommerce_platform.alerting import alerts
from ecommerce_platform.alerting.alerts import AlertState, Days, Finding, update
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.kpi_alert import KpiAlert
from ecommerce_platform.orchestration import findings
from ecommerce_platform.orchestration.assembly import build_definitions, watched_tables
from ecommerce_platform.orchestration.findings import Watched, watched
from ecommerce_platform.orchestration.partitions import daily_partitions
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.orchestration.reaper import reap_dead_runs
from ecommerce_platform.orchestration.sensors import alert_sensor
from ecommerce_platform.reading.snapshots import snapshot_id
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.contract_checks import BLOCKS
from ecommerce_platform_tests.automation.harness import make_source, open_home
from ecommerce_platform_tests.automation.mailbox import Hook, Mailbox, hook, mailbox
from ecommerce_platform_tests.automation.test_reaper import FORK, HANGING, execute

SOURCE = make_source()
CONTRACTS = {name: table.contract for name, table in read_catalog().tables.items()}
TABLES = ("bronze.shop__orders", "silver.orders", "silver.customers", "gold.kpi_daily", "gold.kpi_summary")


@dataclass
class Shop:
    """Tables below each other, with a check each; what is to fail is told."""

    failing: dict[str, str] = field(default_factory=dict)
    #: Table → (failing rows, severity, description) of its check.
    checks: dict[str, tuple[int, dg.AssetCheckSeverity, str]] = field(default_factory=dict)

    @cached_property
    def assets(self) -> list[dg.AssetsDefinition]:
        below = {
            "silver.orders": ["bronze.shop__orders"],
            "silver.customers": ["bronze.shop__orders"],
            "gold.kpi_daily": ["silver.orders"],
            "gold.kpi_summary": ["gold.kpi_daily"],
            **{f"gold.made{n}": ["silver.orders"] for n in range(20)},
        }
        return [self._asset(table, below.get(table, [])) for table in [*TABLES, *(f"gold.made{n}" for n in range(20))]]

    def _asset(self, table: str, deps: list[str]) -> dg.AssetsDefinition:
        key = dg.AssetKey(table.split("."))
        daily = table in ("bronze.shop__orders", "silver.orders", "gold.kpi_daily")

        @dg.multi_asset(
            name="__".join(key.path),
            specs=[
                dg.AssetSpec(
                    key,
                    deps=[dg.AssetKey(dep.split(".")) for dep in deps],
                    partitions_def=daily_partitions(SOURCE) if daily else None,
                )
            ],
            check_specs=[dg.AssetCheckSpec("contract", asset=key, description="Keeps its contract." + BLOCKS)],
            can_subset=True,
        )
        def write(context: dg.AssetExecutionContext) -> Iterator[Any]:
            rows, severity, description = self.checks.get(table, (0, dg.AssetCheckSeverity.ERROR, ""))
            result = dg.AssetCheckResult(
                passed=not rows, check_name="contract", asset_key=key, severity=severity, description=description,
                metadata={"failing_rows": rows, "examples": re.findall(r", e\.g\. (\(.*?\))(?:;|$)", description)},
            )  # fmt: skip
            if rows and severity == dg.AssetCheckSeverity.ERROR and table in self.failing:
                yield result
            if table in self.failing:
                raise dg.Failure(self.failing[table], allow_retries=False)
            yield dg.MaterializeResult(asset_key=key, check_results=[result])

        return write

    @cached_property
    def definitions(self) -> dg.Definitions:
        return dg.Definitions(
            assets=self.assets,
            jobs=[
                dg.define_asset_job("everything", selection="*"),
                dg.define_asset_job("daily_load", selection=[dg.AssetKey(table.split(".")) for table in TABLES]),
                dg.define_asset_job("summary", selection='key:"gold/kpi_summary"'),
            ],
            executor=dg.in_process_executor,
        )


@dataclass
class World:
    """An instance with its sensor, and who is told. The cursor goes from tick to tick as text."""

    instance: dg.DagsterInstance
    settings: Settings
    mail: Mailbox
    web: Hook
    shop: Shop = field(default_factory=Shop)
    alerts: list[KpiAlert] = field(default_factory=list)
    cursor: str | None = None
    said: str = ""
    #: Seconds that the sensor's clock is ahead.
    ahead: float = 0.0

    def watched(self) -> Watched:
        return watched(self.shop.assets, CONTRACTS, self.alerts, "EUR")

    def tick(self, ahead: float = 0.0) -> list[str]:
        """One tick, that much later; subjects of what was mailed in it."""
        self.ahead += ahead
        before = len(self.mail.mails)
        sensor = alert_sensor(self.settings, SOURCE, self.watched, now=lambda: time.time() + self.ahead)
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert not result.run_requests
        self.cursor = result.cursor
        self.said = (result.skip_reason.skip_message if result.skip_reason else None) or ""
        return self.mail.subjects[before:]

    def load(self, day: str = "2024-03-01", job: str = "daily_load", last: str | None = None) -> str:
        """A run of a day, or of the days until `last`; its id."""
        found = self.shop.definitions.resolve_job_def(job)
        tags = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": last or day}
        return found.execute_in_process(instance=self.instance, raise_on_error=False, tags=tags).run_id

    def publish(self, at: str = "2024-03-02T06:00:00", loads: str = "2024-03-02", **tables: str) -> None:
        """A snapshot with these tables of `gold`, given as SELECTs."""
        folder = self.settings.published / "snapshots" / snapshot_id(datetime.fromisoformat(at).replace(tzinfo=UTC))
        (folder / "gold").mkdir(parents=True)
        for name, select in tables.items():
            duckdb.sql(f"copy ({select}) to '{folder}/gold/{name}.parquet'")
        files = {f"gold.{name}": {"file": f"gold/{name}.parquet", "rows": 1} for name in tables}
        manifest = {"source": "shop", "tables": files, "loads": {"orders": {"newest": loads}}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        current = self.settings.published / "current"
        current.unlink(missing_ok=True)
        current.symlink_to(folder)


@contextmanager
def told(folder: Path, instance: dg.DagsterInstance) -> Iterator[World]:
    with mailbox() as mail, hook() as web:
        settings = Settings(
            data_dir=folder / "data", alert_urls=f"{mail.url} {web.url}", ui_url="http://dagster.example:3000/"
        )
        yield World(instance, settings, mail, web)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An instance in memory: most of what is tested here is not about files."""
    with dg.DagsterInstance.ephemeral() as instance, told(tmp_path, instance) as world:
        yield world


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[World]:
    """An instance with the platform's own storage."""
    with open_home(tmp_path / "home") as instance, told(tmp_path, instance) as world:
        yield world


@pytest.fixture
def started(world: World) -> World:
    """A world in which everything is well and alerts are on."""
    world.load()
    assert world.tick() == []
    return world


def test_a_failed_table_above_twenty_others_is_one_message_and_its_end_another(stored: World):
    world = stored
    world.load()
    assert world.tick() == []
    world.shop.failing["silver.orders"] = "raw/2024-03-02/orders.csv: column id is missing\n  → correct the mapping"
    run = world.load("2024-03-02", "everything")
    assert world.tick() == ["[synthetic] everything of 2024-03-02 failed at silver.orders"]
    body = world.mail.part("plain")
    assert "raw/2024-03-02/orders.csv: column id is missing 22 tables are made from it." in " ".join(body.split())
    assert "What to do: correct the mapping" in body
    assert f"http://dagster.example:3000/runs/{run}" in body
    assert world.web.subjects == world.mail.subjects

    world.load("2024-03-02", "everything")
    assert world.tick(30) == [], "the same failure again"
    world.shop.failing.clear()
    world.load("2024-03-03")
    assert world.tick(30) == [], "another day was loaded, this one is still missing"
    world.load("2024-03-02")
    assert world.tick(30) == ["[synthetic] Resolved: everything of 2024-03-02 failed at silver.orders"]
    assert world.tick(30) == []
    assert world.web.subjects == world.mail.subjects


def test_the_check_that_stops_a_write_is_told_with_its_run(started: World):
    world = started
    world.shop.failing["gold.kpi_daily"] = "gold.kpi_daily: check contract failed: …"
    world.shop.checks["gold.kpi_daily"] = (
        3, dg.AssetCheckSeverity.ERROR, "orders is required: 2 rows, e.g. (order_date=2024-03-01); unique key: 1 rows"
    )  # fmt: skip
    world.load("2024-03-02")
    assert world.tick() == ["[synthetic] daily_load of 2024-03-02 failed at gold.kpi_daily"]
    body = " ".join(world.mail.part("plain").split())
    assert "Nothing was written: Check contract: orders is required: 2 rows; unique key: 1 rows" in body
    assert "For example: (order_date=2024-03-01)" in body
    world.shop.failing.clear()
    world.shop.checks.clear()
    world.load("2024-03-02")
    assert world.tick(30) == ["[synthetic] Resolved: daily_load of 2024-03-02 failed at gold.kpi_daily"]


def test_a_warning_is_told_once_while_it_stays_and_once_when_it_is_over(started: World):
    world = started
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.WARN, "contract: 5 rows, e.g. (source=shop)")
    for number in range(3):
        world.load("2024-03-02")
        assert world.tick(60) == (["[synthetic] gold.kpi_summary fails its check contract"] if number == 0 else [])
    body = world.mail.part("plain")
    assert "Check contract: Keeps its contract. (5 rows)" in body
    assert "http://dagster.example:3000/assets/gold/kpi_summary?view=checks&checkDetail=contract" in body
    world.shop.checks.clear()
    world.load("2024-03-02")
    assert world.tick(60) == ["[synthetic] Resolved: gold.kpi_summary fails its check contract"]


def test_of_runs_that_overlap_what_was_evaluated_last_counts(started: World):
    world, key = started, dg.AssetKey(["gold", "kpi_summary"])

    def evaluated(passed: bool) -> None:
        """In a run that has not ended."""
        world.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=key, check_name="contract", passed=passed, metadata={})
        )

    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.WARN, "")
    world.load("2024-03-02")
    evaluated(passed=True)
    assert world.tick() == [], "put right before the run that found it has ended"
    world.load("2024-03-03")
    assert world.tick(30) == ["[synthetic] gold.kpi_summary fails its check contract"]
    world.shop.checks.clear()
    world.load("2024-03-04")
    evaluated(passed=False)
    assert world.tick(30) == [], "broken again before the run that found it well has ended"
    world.load("2024-03-05")
    assert world.tick(30) == ["[synthetic] Resolved: gold.kpi_summary fails its check contract"]


def test_a_failure_in_gold_is_over_when_the_table_was_written_for_whatever_days(started: World):
    world = started
    world.shop.failing["gold.kpi_daily"] = "the disk is full"
    world.load("2024-03-02")
    assert world.tick() == ["[synthetic] daily_load of 2024-03-02 failed at gold.kpi_daily"]
    world.shop.failing.clear()
    world.load("2024-03-03")
    assert world.tick(30) == ["[synthetic] Resolved: daily_load of 2024-03-02 failed at gold.kpi_daily"]


@pytest.mark.parametrize(("first", "second"), [("2024-03-02", "2024-03-04"), ("2024-03-04", "2024-03-02")])
def test_a_failed_range_is_over_when_both_of_its_ends_were_written(started: World, first: str, second: str):
    world, over = started, ["[synthetic] Resolved: daily_load of 2024-03-02 to 2024-03-04 failed at silver.orders"]
    world.shop.failing["silver.orders"] = "column id is missing"
    world.load("2024-03-02", last="2024-03-04")
    assert len(world.tick(31)) == 1
    world.shop.failing.clear()
    world.load(first)
    assert world.tick(31) == []
    world.load(second)
    assert world.tick(31) == over


@pytest.mark.parametrize("alone", ["2024-03-02", "2024-03-04"])
def test_a_day_that_failed_alone_as_well_does_not_stand_for_the_range_that_begins_or_ends_with_it(
    started: World, alone: str
):
    world = started
    world.shop.failing["silver.orders"] = "column id is missing"
    world.load("2024-03-02", last="2024-03-04")
    world.load(alone)
    assert len(world.tick(31)) == 1
    world.shop.failing.clear()
    world.load(alone)
    assert world.tick(31) == []
    world.load("2024-03-02", last="2024-03-04")
    assert len(world.tick(31)) == 1


def test_a_job_has_made_up_for_days_that_one_of_its_runs_covers_whole(world: World):
    missed = (Days(first="2024-03-02", last="2024-03-04", at=0.0),)
    finding = Finding(
        kind="run", key="job daily_load", severity="error", headline="", where="daily_load", what="", mark="", cause="",
        at=0.0, job="daily_load", days=missed,
    )  # fmt: skip
    for first, last in (("2024-03-02", "2024-03-03"), ("2024-03-03", "2024-03-05")):
        world.load(first, last=last)
        assert not findings._succeeded(world.instance, finding)
    world.load("2024-03-02", last="2024-03-04")
    assert findings._succeeded(world.instance, finding)


def test_examples_are_left_out_whatever_they_look_like(started: World):
    world = started
    said = "status is one of a, b: 2 rows, e.g. (order_id=A; e.g. B, status=c; d)"
    world.shop.checks["gold.kpi_summary"] = (2, dg.AssetCheckSeverity.WARN, said)
    world.load("2024-03-02")
    world.tick()
    body = " ".join(world.mail.part("plain").split())
    assert "status is one of a, b: 2 rows" in body
    assert "For example: (order_id=A; e.g. B, status=c; d)" in body


def test_while_no_url_can_be_used_nothing_counts_as_told(started: World):
    world = started
    good, world.settings = world.settings, world.settings.model_copy(update={"alert_urls": SecretStr("jsn://host")})
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.WARN, "")
    world.load("2024-03-02")
    assert world.tick() == []
    assert "cannot be used" in world.said
    world.settings = good
    assert world.tick(30) == ["[synthetic] gold.kpi_summary fails its check contract"]


def test_warnings_are_not_told_when_only_errors_shall_be(started: World):
    world = started
    world.settings = world.settings.model_copy(update={"alert_severity": "error"})
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.WARN, "")
    world.load("2024-03-02")
    assert world.tick() == []
    assert "Wrong: 1." in world.said


def test_values_of_a_table_with_personal_data_are_not_told(started: World):
    world = started
    secret = "'Ann Smith' has no e-mail: 1 rows, e.g. (name=Ann Smith)"
    world.shop.checks["silver.customers"] = (1, dg.AssetCheckSeverity.ERROR, secret)
    world.load("2024-03-02")
    assert world.tick() == ["[synthetic] silver.customers fails its check contract"]
    assert "1 rows" in world.mail.part("plain")
    assert "Ann Smith" not in world.mail.part("plain") + world.mail.part("html") + json.dumps(world.web.requests)


def test_a_killed_run_is_told_when_it_was_found_and_its_end_when_the_job_succeeds(stored: World, tmp_path: Path):
    world = stored
    world.tick()
    run_id = killed(world.instance, tmp_path)
    assert reap_dead_runs(world.instance) == [run_id]
    assert world.tick(30) == ["[synthetic] victim ended without a result"]
    body = " ".join(world.mail.part("plain").split())
    assert "its process" in body
    assert "was killed from outside, or the machine stopped or ran out of memory" in body
    assert f"http://dagster.example:3000/runs/{run_id}" in body
    assert world.tick(30) == []

    @dg.job
    def victim() -> None: ...

    victim.execute_in_process(instance=world.instance)
    assert world.tick(30) == ["[synthetic] Resolved: victim ended without a result"]


def test_a_killed_run_that_was_made_up_for_before_anybody_looked_is_one_message(stored: World, tmp_path: Path):
    world = stored

    @dg.job
    def victim() -> None: ...

    world.tick()
    killed(world.instance, tmp_path)
    reap_dead_runs(world.instance)
    victim.execute_in_process(instance=world.instance)
    assert world.tick(30) == ["[synthetic] victim ended without a result"]
    assert "A later run has made up for it." in " ".join(world.mail.part("plain").split())
    assert world.tick(30) == []


def killed(instance: dg.DagsterInstance, folder: Path) -> str:
    """A run whose process was really killed."""
    HANGING.clear()
    child = FORK.Process(target=execute, args=(folder / "home",))
    child.start()
    assert HANGING.wait(60)
    child.kill()
    child.join()
    [record] = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    return record.dagster_run.run_id


def test_tables_that_nobody_builds_any_more_are_one_message(started: World):
    world = started
    assert world.tick(29 * 3600) == []
    assert world.tick(2 * 3600) == ["[synthetic] gold.kpi_daily is too old and 1 more"]
    body = world.mail.part("plain")
    assert "more than 30 hours ago" in " ".join(body.split())
    assert "http://dagster.example:3000/assets/gold/kpi_daily" in body
    assert world.tick(3600) == []
    world.load("2024-03-02")
    world.ahead = 0.0  # the load that has just run is new by the clock of the instance
    assert world.tick() == ["[synthetic] Resolved: gold.kpi_daily is too old and 1 more"]


def test_a_table_that_gets_old_because_its_load_fails_is_no_second_message(started: World):
    world = started
    world.shop.failing["bronze.shop__orders"] = "the disk is full"
    world.load("2024-03-02")
    assert len(world.tick()) == 1
    assert world.tick(40 * 3600) == []
    assert "Wrong: 3." in world.said


DAILY = "select date '2024-03-01' as order_date, {revenue} as revenue, {orders} as orders"
BOUNDS = [
    KpiAlert(kpi="gold.kpi_daily.revenue", below=1000),
    KpiAlert(
        name="refunds", description="More is paid back than sold.",
        sql="select * from gold.kpi_daily where revenue < 0;", severity="warning",
    ),
]  # fmt: skip


def test_a_kpi_out_of_bounds_is_told_from_the_published_snapshot(started: World):
    world = started
    world.alerts = BOUNDS
    world.publish("2024-03-02T06:00:00", kpi_daily=DAILY.format(revenue=5000, orders=10))
    assert world.tick() == []
    world.publish("2024-03-02T07:00:00", kpi_daily=DAILY.format(revenue="cast(812.5 as decimal(18, 4))", orders=2))
    with patch.object(duckdb, "connect", wraps=duckdb.connect) as connect:
        assert world.tick(30) == ["[synthetic] gold.kpi_daily.revenue below 1,000"]
        assert "revenue of 2024-03-01 is 812.5 EUR, below 1,000 EUR." in " ".join(world.mail.part("plain").split())
        assert world.tick(30) == []
    assert [call.args for call in connect.call_args_list] == [(":memory:",)], "once, and never the warehouse"
    world.publish("2024-03-03T07:00:00", kpi_daily=DAILY.format(revenue=1000, orders=2))
    assert world.tick(30) == ["[synthetic] Resolved: gold.kpi_daily.revenue below 1,000"]


def test_a_first_look_at_an_old_shop_is_one_message(world: World):
    world.shop.failing["gold.kpi_summary"] = "no"
    world.shop.checks["silver.orders"] = (4, dg.AssetCheckSeverity.WARN, "x")
    for day in (1, 2, 3):
        world.load(f"2024-03-{day:02}")
    world.alerts = BOUNDS
    world.publish(kpi_daily=DAILY.format(revenue=1, orders=1))
    assert world.tick() == ["[synthetic] Alerts are on: 3 things are wrong"]
    assert world.tick(30) == []
    world.shop.failing.clear()
    world.load("2024-03-03")
    assert world.tick(30) == [], "told together, so over together"


STRANGE = """select * from (values
    ('revenue', date '2024-03-01', date '2024-03-02', 900.0, 1100.0, 'critical', 'revenue was 12.5.'),
    {more}
    ('orders', date '2024-02-01', date '2024-02-01', 90.0, 110.0, 'warning', 'orders was 300.')
) as t(series, window_start, window_end, expected_low, expected_high, severity, explanation)"""
NEW = """('revenue', date '2024-03-02', date '2024-03-04', 900.0, 1100.0, 'critical', 'revenue has grown by two days.'),
    ('orders', date '2024-03-09', date '2024-03-09', 90.0, 110.0, 'warning', 'orders was 1,200 on 2024-03-09.'),
    ('units', date '2024-03-09', date '2024-03-09', 90.0, 110.0, 'info', 'units; these days are known as Sale.'),
    ('revenue', date '2024-03-09', date '2024-03-09', 900.0, 1100.5, 'critical',
     'revenue was 4,201 on 2024-03-09; most of it in brand Acme (61% of the change).'),"""


def test_new_anomalies_of_a_snapshot_are_one_message(started: World):
    world = started
    world.publish("2024-03-05T06:00:00", anomalies=STRANGE.format(more=""))
    assert world.tick() == [], "what was there when alerts began is no news"
    world.publish("2024-03-10T06:00:00", anomalies=STRANGE.format(more=NEW))
    assert world.tick(30) == ["[synthetic] revenue is not as expected and 1 more"]
    body = " ".join(world.mail.part("plain").split())
    assert "most of it in brand Acme (61% of the change). Ordinary is 900 to 1,100.5." in body
    assert "orders was 1,200 on 2024-03-09. Ordinary is 90 to 110." in body
    assert "grown" not in body, "the window from the first of March was seen"
    assert "units" not in body, "known days are no news"
    world.publish("2024-03-11T06:00:00", anomalies=STRANGE.format(more=NEW))
    assert world.tick(30) == []


def test_of_hundreds_of_anomalies_each_is_told_once(started: World):
    world = started
    many = (
        "select 'orders' as series, date '2020-01-01' + cast(2 * n as integer) as window_start, window_start as window_end, "
        "0.0 as expected_low, 1.0 as expected_high, 'warning' as severity, 'strange' as explanation from range({}) as t(n)"
    )
    world.publish("2024-03-05T06:00:00", anomalies=many.format(620))
    assert world.tick() == []
    for day, count, told in ((6, 620, 0), (7, 621, 1), (8, 621, 0), (9, 621, 0)):
        world.publish(f"2024-03-{day:02}T06:00:00", anomalies=many.format(count))
        assert len(world.tick(30)) == told
    assert world.cursor is not None
    assert len(AlertState.model_validate_json(world.cursor).anomalies["orders"]) <= 501


def test_a_mail_server_that_is_down_stops_nothing_and_gets_the_message_later_once(stored: World):
    world = stored
    world.load()
    assert world.tick() == []
    world.mail.close()
    world.shop.failing["silver.orders"] = "column id is missing"
    run = world.load("2024-03-02")
    assert world.tick() == []
    assert world.instance.get_run_by_id(run).is_failure  # type: ignore[union-attr]
    assert "Waiting to be delivered: 1." in world.said
    assert len(world.web.requests) == 1, "the other target has it"
    world.shop.failing.clear()
    assert world.instance.get_run_by_id(world.load("2024-03-03")).is_success  # type: ignore[union-attr]
    world.tick(31)
    world.mail.open()
    assert world.tick(31) == [], "its pause has grown"
    assert world.tick(60) == ["[synthetic] daily_load of 2024-03-02 failed at silver.orders"]
    assert world.tick(600) == []
    assert len(world.web.requests) == 1


def test_what_stands_in_the_way_of_looking_is_said_and_what_waits_is_sent(started: World, capsys: Any):
    world = started
    world.mail.close()
    world.shop.failing["silver.orders"] = "column id is missing"
    world.load("2024-03-02")
    world.tick()
    world.mail.open()
    with patch.object(findings, "look_at_news", side_effect=RuntimeError("cannot read pa55w0rd")):
        assert world.tick(31) == ["[synthetic] daily_load of 2024-03-02 failed at silver.orders"]
    assert world.said == "Could not look: RuntimeError: cannot read •••"
    assert world.tick(30) == []
    shown = capsys.readouterr()
    assert "pa55w0rd" not in shown.out + shown.err


def test_what_was_seen_in_a_look_that_broke_off_is_told_after_the_next(started: World):
    world = started
    world.shop.failing["silver.orders"] = "column id is missing"
    world.load("2024-03-02")

    def seen_and_broken(*args: Any, **more: Any) -> Any:
        update(*args, **more)
        raise RuntimeError("in the middle")

    with patch.object(alerts, "update", side_effect=seen_and_broken):
        assert world.tick() == []
    assert world.tick(31) == ["[synthetic] daily_load of 2024-03-02 failed at silver.orders"]


def test_a_cursor_that_cannot_be_read_starts_anew(started: World):
    world = started
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.ERROR, "")
    world.load("2024-03-02")
    world.tick()
    world.cursor = "nonsense"
    assert world.tick() == ["[synthetic] Alerts are on: 1 thing is wrong"]


def test_after_a_long_pause_how_things_stand_is_told_not_all_that_happened(started: World):
    world = started
    world.shop.failing["silver.orders"] = "column id is missing"
    world.load("2024-03-02")
    world.shop.failing.clear()
    world.load("2024-03-02")
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.ERROR, "")
    world.load("2024-03-03")
    assert world.tick(7200) == ["[synthetic] gold.kpi_summary fails its check contract"]


def test_all_that_is_defined_is_looked_at(tmp_path: Path):
    settings = read_settings(source="synthetic", data_dir=tmp_path)
    definitions, project = build_definitions(settings), read_project(settings)
    assert isinstance(definitions.resolve_sensor_def("alerts"), dg.SensorDefinition)
    given = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    seen = watched_tables(project, [asset for asset in given if isinstance(asset, dg.AssetsDefinition)])
    graph = definitions.resolve_asset_graph()
    checks = {(".".join(k.asset_key.path), k.name) for k in graph.asset_check_keys}
    assert set(seen.checks) == checks
    assert ("gold.kpi_daily", "expectations") in seen.checks
    assert set(seen.upstream) == {".".join(key.path) for key in graph.get_all_asset_keys()}
    assert seen.upstream["gold.kpi_summary"] >= {"bronze.synthetic__orders", "silver.orders", "gold.fct_orders"}
    assert not seen.upstream["bronze.synthetic__orders"]
    assert seen.daily >= {"bronze.synthetic__orders", "silver.orders", "gold.kpi_daily"}
    assert seen.daily.isdisjoint({"gold.kpi_summary", "gold.rfm"})
    assert seen.personal("silver.customers")
    assert not seen.personal("gold.kpi_daily")
    assert seen.personal("bronze.synthetic__crm_customers"), "what is made of it is"
    assert not seen.personal("bronze.synthetic__economy")


def test_without_somebody_to_tell_it_is_stopped_and_does_nothing(world: World):
    world.settings = Settings(data_dir=world.settings.data_dir)
    sensor = alert_sensor(world.settings, SOURCE, world.watched)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert world.tick() == []
    assert "ECOMMERCE_ALERT_URLS" in world.said
    told = Settings(alert_urls="json://host")
    assert alert_sensor(told, SOURCE, world.watched).default_status == dg.DefaultSensorStatus.RUNNING


def test_without_apprise_it_says_what_to_install(world: World):
    with patch.dict(sys.modules, apprise=None):
        assert world.tick() == []
    assert "pip install 'ecommerce_platform[notify]'" in world.said


def test_the_cursor_holds_no_secrets(started: World):
    world = started
    world.mail.close()
    world.web.answers = [500]
    world.shop.failing["silver.orders"] = "postgresql://app:hunter2@db refused ann@example.com"
    world.load("2024-03-02")
    world.tick()
    assert world.cursor is not None
    assert len(AlertState.model_validate_json(world.cursor).outbox[0].waiting) == 2
    for secret in ("pa55w0rd", "t0ken", "k3y9", "hunter2", "ann@example.com"):
        assert secret not in world.cursor + world.said


def test_a_check_that_is_taken_out_of_the_definitions_is_over(started: World):
    world = started
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.ERROR, "")
    world.load("2024-03-02")
    world.tick()
    seen = world.watched()
    fewer = {key: text for key, text in seen.checks.items() if key[0] != "gold.kpi_summary"}
    with patch.object(World, "watched", lambda self: Watched(**{**seen.__dict__, "checks": fewer})):
        assert world.tick(30) == ["[synthetic] Resolved: gold.kpi_summary fails its check contract"]


def test_a_check_that_later_runs_only_planned_still_fails(world: World):
    world.shop.checks["gold.kpi_summary"] = (5, dg.AssetCheckSeverity.ERROR, "")
    world.load("2024-03-01")
    # A run that evaluates nothing: planned checks are the newest records of the log.
    key = dg.AssetKey(["gold", "kpi_summary"])
    job = world.shop.definitions.resolve_job_def("summary")
    run = world.instance.create_run_for_job(job, asset_selection=frozenset({key}))
    world.instance.report_run_failed(run)
    latest = world.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, "contract")]
    )
    assert {record.run_id for record in latest.values()} == {run.run_id}, "else this test tests nothing"
    [subject] = world.tick()
    assert "things are wrong" in subject
    assert "Check contract: Keeps its contract" in world.mail.part("plain")


def test_a_tick_with_two_thousand_runs_in_the_log_reads_those_that_are_new(stored: World):
    world = stored
    world.load()
    assert world.tick() == []
    run_id = world.load("2024-03-02")
    copies(world, run_id, 2_000)
    assert world.instance.get_runs_count() > 2_000
    world.cursor = None

    def read() -> int:
        """Runs whose logs a tick reads."""
        with patch.object(dg.DagsterInstance, "all_logs", autospec=True, side_effect=all_logs) as reading:
            world.tick(30)
        return reading.call_count

    all_logs = dg.DagsterInstance.all_logs
    assert read() <= findings._RUNS, "the first look"
    assert read() == 0, "nothing new"
    world.load("2024-03-03")
    assert read() == 1
    assert "Runs looked at: 1." in world.said


def copies(world: World, run_id: str, count: int) -> None:
    """The same run again, in the databases alone: to run it so often would take hours."""
    import sqlite3

    history = Path(world.instance.root_directory) / "history"
    for path, table in ((history / "runs.db", "runs"), (history / "runs" / "index.db", "event_logs")):
        with sqlite3.connect(path) as con:
            names = [row[1] for row in con.execute(f"pragma table_info({table})") if row[1] != "id"]
            moved = ", ".join(f"replace({name}, :run, printf('%08x', n) || substr(:run, 9))" for name in names)
            where = "dagster_event_type like 'PIPELINE_%'" if table == "event_logs" else "true"
            con.execute(
                f"insert into {table} ({', '.join(names)}) with recursive numbers (n) as "
                f"(select 0 union all select n + 1 from numbers where n + 1 < :count) select {moved} "
                f"from (select * from {table} where run_id = :run and {where}), numbers",
                {"run": run_id, "count": count},
            )
    with sqlite3.connect(history / "runs" / "index.db") as con:
        con.execute(
            f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) "
            "insert into asset_check_executions (asset_key, check_name, run_id, execution_status, evaluation_event) "
            "select c.asset_key, c.check_name, hex(randomblob(16)), c.execution_status, c.evaluation_event "
            "from asset_check_executions as c cross join n where c.run_id = ?",
            [run_id],
        )
