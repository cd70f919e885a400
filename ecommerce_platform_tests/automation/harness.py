"""A stand-in for Dagster's daemon: drives sensors, schedules and automation conditions tick by tick.

Only what the daemon does that matters here: it keeps the cursor as text, launches a run key of a sensor once, tags
what it launches, and may die between any two of these. The jobs are dummies with the names that triggers start.
"""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import dagster as dg

from ecommerce_platform.contracts.source import RawTable, Source, SourceFile
from ecommerce_platform.orchestration.conditions import automation_sensor, publish_condition
from ecommerce_platform.orchestration.instance import TEMPLATE
from ecommerce_platform.orchestration.jobs import CUSTOMER_MARTS_JOB, FULL_CHECKS_JOB, PUBLISH_JOB
from ecommerce_platform.orchestration.partitions import LOAD_JOB, Days, daily_partitions
from ecommerce_platform.orchestration.retention import prune_job
from ecommerce_platform.orchestration.schedules import schedules
from ecommerce_platform.orchestration.sensors import DROP_SENSOR, reaper_sensor

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def make_source(start: str = "2024-01-01", time_zone: str = "Europe/Berlin", **tables: str) -> Source:
    """A shop without mappings whose raw tables have the given patterns."""
    patterns = tables or {"orders": "orders*.csv", "items": "items*.csv"}
    file = SourceFile(
        name="shop",
        path=Path("shop/source.yml"),
        description="A shop for tests.",
        currency="EUR",
        time_zone=time_zone,
        start_date=date.fromisoformat(start),
        tables={name: RawTable(files=(glob,), description="A raw table.") for name, glob in tables.items() or patterns.items()},
    )  # fmt: skip
    return Source(file, ())


@dataclass
class Shop:
    """Dummy definitions, and what their runs did."""

    source: Source
    loaded: list[tuple[str, ...]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    #: The days that have a key in these definitions, and those that have one when a schedule fires.
    days: Days | None = None
    days_now: Days | None = None

    def definitions(self, *sensors: dg.SensorDefinition) -> dg.Definitions:
        """Daily tables, a whole table, a snapshot below both, and all jobs that triggers name."""
        daily = daily_partitions(self.source, self.days)

        @dg.asset(key=["gold", "kpi_daily"], partitions_def=daily)
        def kpi_daily(context: dg.AssetExecutionContext) -> None:
            if self.failing & set(context.partition_keys):
                raise dg.Failure("told to fail")
            self.loaded.append(tuple(context.partition_keys))

        @dg.asset(key=["gold", "kpi_summary"], deps=[kpi_daily])
        def kpi_summary() -> None: ...

        @dg.asset(key=["gold", "rfm"])
        def rfm() -> None: ...

        @dg.asset(
            key=["publish", "snapshot"],
            deps=[kpi_daily, kpi_summary, rfm],
            automation_condition=publish_condition(),
        )
        def snapshot() -> None: ...

        @dg.op
        def work() -> None: ...

        @dg.job  # makes no table
        def odd_job() -> None:
            work()

        return dg.Definitions(
            assets=[kpi_daily, kpi_summary, rfm, snapshot],
            jobs=[
                dg.define_asset_job(LOAD_JOB, selection=[kpi_daily, kpi_summary]),
                dg.define_asset_job(CUSTOMER_MARTS_JOB, selection=[rfm]),
                dg.define_asset_job(PUBLISH_JOB, selection=[snapshot]),
                dg.define_asset_job(FULL_CHECKS_JOB, selection=[kpi_daily]),
                odd_job,
                prune_job(),
            ],
            schedules=schedules(self.source, (lambda: now) if (now := self.days_now) else None),
            sensors=[*sensors, reaper_sensor(), automation_sensor()],
            executor=dg.in_process_executor,
        )


@contextmanager
def open_home(home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with the platform's own dagster.yaml."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    # Daemon, webserver and runs all have it set; the event log lies below it.
    with patch.dict(os.environ, DAGSTER_HOME=str(home)), dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@dataclass(frozen=True)
class Tick:
    """What came of a tick: ranges asked for, ids of runs launched, what it said when it asked for nothing."""

    requested: tuple[tuple[str, str], ...]
    launched: tuple[str, ...]
    skipped: str | None

    @property
    def days(self) -> tuple[str, ...]:
        """Days of all ranges asked for."""
        return tuple(day for first, last in self.requested for day in days_between(first, last))


def days_between(first: str, last: str) -> tuple[str, ...]:
    """All days of a range, as keys."""
    start, count = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    return tuple((start + timedelta(days=n)).isoformat() for n in range(count))


@dataclass
class Daemon:
    """Evaluates one sensor as the daemon does. The cursor is all that survives between ticks, besides the instance.

    `runs` says what becomes of what it launches: "execute" runs the dummy job, "succeed" only records that it ran,
    "hold" leaves it waiting until `settle`.
    """

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    sensor: dg.SensorDefinition
    runs: str = "execute"
    cursor: str | None = None
    ended: float | None = None

    def __post_init__(self) -> None:
        self.job = self.definitions.resolve_job_def(LOAD_JOB)

    def context(self) -> dg.SensorEvaluationContext:
        """What the daemon tells a sensor; `build_sensor_context` leaves out when the last tick ended."""
        return dg.SensorEvaluationContext(
            instance_ref=None, instance=self.instance, cursor=self.cursor, last_tick_completion_time=self.ended
        )

    def tick(self, *, dies_after: int | None = None, dies_before_saving: bool = False) -> Tick:
        """One tick; it may die after launching some runs, or all of them, before the cursor is saved."""
        with self.context() as context:
            result = self.sensor(context)
        assert isinstance(result, dg.SensorResult)
        requests = list(result.run_requests or [])
        launched = [self._launch(request) for request in requests[:dies_after]]
        if dies_after is None and not dies_before_saving:
            self.cursor, self.ended = result.cursor, time.time()
        skip = result.skip_reason.skip_message if result.skip_reason else None
        return Tick(
            tuple((r.tags[START], r.tags[END]) for r in requests), tuple(run for run in launched if run is not None), skip
        )  # fmt: skip

    def fails(self, match: str) -> None:
        """A tick that raises: the cursor stays."""
        import pytest

        with (
            self.context() as context,
            pytest.raises(Exception, match=match),
        ):
            self.sensor(context)

    def settle(self, *, succeeded: bool) -> None:
        """Ends all runs that are held."""
        held = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])
        for run in [record.dagster_run for record in self.instance.get_run_records(held)]:
            if succeeded:
                self.instance.handle_run_event(run.run_id, _event(run, dg.DagsterEventType.RUN_SUCCESS))
            else:
                self.instance.report_run_failed(run)

    def _launch(self, request: dg.RunRequest) -> str | None:
        tags = {**request.tags, "dagster/sensor_name": self.sensor.name}
        if request.run_key:
            tags["dagster/run_key"] = request.run_key
            known = {"dagster/run_key": request.run_key, "dagster/sensor_name": DROP_SENSOR}
            if self.instance.get_run_records(dg.RunsFilter(tags=known), limit=1):
                return None
        if self.runs == "execute":
            return self.job.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False).run_id
        status = dg.DagsterRunStatus.NOT_STARTED if self.runs == "hold" else dg.DagsterRunStatus.SUCCESS
        return self.instance.create_run_for_job(self.job, tags=tags, status=status).run_id


def _event(run: dg.DagsterRun, kind: dg.DagsterEventType) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name, message="")


@dataclass
class Conditions:
    """Evaluates automation conditions; the cursor goes through its serialised form at every tick, as at a restart."""

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursor: str | None = None
    now: datetime | None = None

    def tick(self) -> list[str]:
        """The assets that are requested."""
        from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor

        result = dg.evaluate_automation_conditions(
            defs=self.definitions,
            instance=self.instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=dg.deserialize_value(self.cursor, AssetDaemonCursor) if self.cursor else None,
            evaluation_time=self.now,
        )
        self.cursor = dg.serialize_value(result.cursor)
        graph = self.definitions.resolve_asset_graph()
        return [
            key.to_user_string() for key in sorted(graph.get_all_asset_keys(), key=str) if result.get_num_requested(key)
        ]


def schedule_tick(definitions: dg.Definitions, name: str, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """What a schedule asks for at a time."""
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        found = definitions.get_repository_def().get_schedule_def(name)(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found
