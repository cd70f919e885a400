"""Building from the command line: which days are pending, and materializing what is selected in this process."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.operations.as_it_is import (
    LastBuild,
    last_build,
    remember,
    stamps_of_definitions,
    state_of_tables,
)
from ecommerce_platform.operations.in_process import FROM_HERE, NO_CONSOLE, quiet_dagster
from ecommerce_platform.orchestration.evaluations import failure_text
from ecommerce_platform.orchestration.partitions import (
    FULL_CHECKS,
    ONLY_PENDING,
    PENDING,
    WHEN_DUE,
    ask_for,
    range_tags,
    remember_ranges,
    today_in,
)
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.contracts.source import Source
    from ecommerce_platform.ingestion.landing import Drops
    from ecommerce_platform.orchestration.project import Project

_log = logging.getLogger(__name__)

Listener = Callable[[str, str, int, int], None]
#: Days between two loads above which they are taken over by runs of their own, up to so many runs.
_FAR_APART, _MOST_RANGES = 31, 6


@dataclass
class BuildResult:
    """What a build did."""

    seconds: float = 0.0
    run_id: str = ""
    built: list[str] = field(default_factory=list)
    #: table → why it failed.
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    #: (table, finding): input that could not be used although everything was built.
    findings: list[tuple[str, str]] = field(default_factory=list)
    #: (table, check, finding): checks that only warn.
    warnings: list[tuple[str, str, str]] = field(default_factory=list)
    #: (raw table, reason code, lines, an example): what stands in bronze.rejects.
    unparsable: list[tuple[str, str, int, str]] = field(default_factory=list)
    rejected: int = 0
    #: When the last complete build ended, if this one found everything as it left it and so looked at no table.
    as_it_was_at: float | None = None

    @property
    def complete(self) -> bool:
        """Whether every table that was asked for was made, of all the input there is."""
        return not (self.failed or self.skipped or self.findings)

    @property
    def broken_expectations(self) -> list[tuple[str, str, str]]:
        """The warnings of business expectations, which are about tables as they are, not about what a load brought."""
        from ecommerce_platform.orchestration.assets.expectations import EXPECTATIONS

        return [warning for warning in self.warnings if warning[1] == EXPECTATIONS]


def run_build(
    settings: Settings,
    select: str = "*",
    listener: Listener | None = None,
    *,
    days: tuple[date, date] | None = None,
    full_checks: bool = False,
) -> BuildResult:
    """Materializes the selected assets in this process, recorded in DAGSTER_HOME like any run.

    Args:
        settings: where and what.
        select: a Dagster asset selection.
        listener: called with table, "start" | "done" | "failed", steps done, steps in all.
        days: first and last load to take over, again if they were before. Default: what is new, changed,
            redelivered or removed.
        full_checks: checks whole tables, not only what is written.

    Raises:
        DefinitionError: a definition is wrong.
        InputError: the selection is empty or not understood; there is no drop; a day has no partition.
        SettingsError: the engine is one that cannot run here.
    """
    from ecommerce_platform.engines.spark import require_spark
    from ecommerce_platform.orchestration.instance import open_instance
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.orchestration.resources import open_warehouse

    remember_ranges()
    progress = _Progress(listener)
    declared = stamps_of_definitions(settings)
    project = read_project(settings, listener=progress.step)
    _has_drops(project)
    if settings.engine == "spark":
        require_spark(settings.spark_master)
    everything = select == "*" and not days
    with open_instance(settings) as instance:
        with open_warehouse(settings).kept_open(), closing(project.cluster):
            new = [days] if days else pending_ranges(project)
            if everything and not new and not full_checks:
                last = last_build(project, instance, declared, _state_of_tables(settings))
                if last:
                    return _as_it_was(last, settings)
            result = _build(project, instance, progress, select, new, again=bool(days), full_checks=full_checks)
            tables = _state_of_tables(settings) if everything else None
        if result.complete:
            remember(project, instance, declared, tables, result.run_id, result.broken_expectations)
    return result


def _build(
    project: Project, instance: dg.DagsterInstance, progress: _Progress, select: str, new: list[tuple[date, date]],
    *, again: bool, full_checks: bool,
) -> BuildResult:  # fmt: skip
    """Runs what is selected over the ranges of days that are `new`, or over the newest load, then the expectations."""
    from ecommerce_platform.orchestration.assembly import declare
    from ecommerce_platform.orchestration.jobs import EXPECTATIONS_JOB

    ranges = new or [_newest_load(project)]
    for first, last in ranges:
        _have_partitions(project.source, first, last)
        ask_for(project.settings.home, first, last)
    definitions = declare(project)
    keys = _selected(definitions, select)
    if (ask := _asks(project, keys)) and new:
        _import_ahead(project)
    progress.total = len(keys) * len(ranges) + ask
    run = _Jobs(instance, definitions, full_checks=full_checks)
    tags = ({} if again else {ONLY_PENDING: "true"}) | ({WHEN_DUE: "true"} if select == "*" else {})
    result = run.build(keys, ranges, tags)
    if ask and not result.failed:
        progress.tell("business expectations", "start")
        run.execute(definitions.resolve_job_def(EXPECTATIONS_JOB), {})
        progress.tell("business expectations", "done")
    result.seconds = time.monotonic() - run.started
    result.unparsable = _unparsable(project.settings)
    tables = {".".join(key.path) for key in keys}
    result.skipped = len(tables - set(result.built) - set(result.failed))
    return result


def _state_of_tables(settings: Settings) -> str | None:
    from ecommerce_platform.orchestration.resources import open_warehouse

    with open_warehouse(settings).connect() as con:
        return state_of_tables(con)


def _as_it_was(last: LastBuild, settings: Settings) -> BuildResult:
    """What a build says that has nothing to look at: what the last one would say again."""
    return BuildResult(
        run_id=last.run_id, warnings=last.warnings, unparsable=_unparsable(settings), as_it_was_at=last.at
    )


def _asks(project: Project, keys: Iterable[dg.AssetKey]) -> bool:
    """Whether business expectations look at one of these tables: last and once, since they look across tables."""
    asked = {table for suite in project.suites.values() for table in suite.reads}
    return not asked.isdisjoint(".".join(key.path) for key in keys)


def _has_drops(project: Project) -> None:
    if not project.zone.exists():
        raise InputError(
            "there are no drops yet",
            where=project.zone.where,
            fix="run `ecommerce generate`, `ecommerce land DIR --source NAME` or `ecommerce extract`",
        )


class _Jobs:
    """Runs jobs in this process, and gathers what they did."""

    def __init__(self, instance: dg.DagsterInstance, definitions: dg.Definitions, *, full_checks: bool) -> None:
        self.instance, self.definitions = instance, definitions
        self.tags = FROM_HERE | ({FULL_CHECKS: "true"} if full_checks else {})
        self.result, self.started = BuildResult(), time.monotonic()

    def build(
        self, keys: set[dg.AssetKey], ranges: Sequence[tuple[date, date]], tags: Mapping[str, str]
    ) -> BuildResult:
        """Materializes assets for one range of days after another, until one fails."""
        from ecommerce_platform.orchestration.assets.expectations import EXPECTATIONS
        from ecommerce_platform.orchestration.jobs import BUILD_JOB

        # Not by `asset_selection`, which would take every check on the selected tables along.
        every = self.definitions.resolve_asset_graph().asset_check_keys
        checks = {check for check in every if check.asset_key in keys and check.name != EXPECTATIONS}
        job = self.definitions.resolve_job_def(BUILD_JOB).get_subset(asset_selection=keys, asset_check_selection=checks)
        for first, last in ranges:
            self.result.run_id = self.execute(job, {**range_tags(first, last), **tags})
            if self.result.failed:
                break
        return self.result

    def execute(self, job: dg.JobDefinition, tags: Mapping[str, str]) -> str:
        """Runs a job; the run's id."""
        with quiet_dagster():
            executed = job.execute_in_process(
                instance=self.instance, raise_on_error=False, tags={**self.tags, **tags}, run_config=NO_CONSOLE
            )
        _read_events(executed.all_events, self.result)
        return executed.run_id


def _import_ahead(project: Project) -> None:
    """Imports what the last steps need, which takes seconds, in a thread: Python waits anyway while DuckDB loads days.

    Not where drops come from an object store: Great Expectations is imported without the clouds' clients, and for that
    moment there are none.
    """
    from ecommerce_platform.ingestion.zone import LocalZone
    from ecommerce_platform.ml.models import import_libraries
    from ecommerce_platform.quality import gx

    if not isinstance(project.zone, LocalZone):
        return
    first = not project.settings.models.exists()

    def work() -> None:
        with suppress(Exception):  # whoever needs them says what is wrong
            # First what Great Expectations would import lazily: two threads must not wake the same module.
            if first:
                import_libraries(project.catalog)
            gx.load()

    threading.Thread(target=work, name="imports ahead", daemon=True).start()


def pending_loads(project: Project, drops: Drops | None = None) -> set[date]:
    """The loads that are not taken over yet: new, changed, redelivered or removed drops, and those a run left half-way.

    Without those that have to wait, which are named in the log.
    """
    from ecommerce_platform.ingestion.bronze import pending_days
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.silver.entities import lagging_days

    drops = drops or project.zone.drops(project.source)
    with open_warehouse(project.settings).connect() as con:
        pending = {day for raw, files in drops.tables.items() for day in pending_days(con, project.source, raw, files)}
        lagging = lagging_days(con)
    waiting, said = held_back(project, drops)
    for sentence in said:
        _log.warning(sentence)
    return (pending - waiting) | lagging


def held_back(project: Project, drops: Drops) -> tuple[set[date], list[str]]:
    """Days that are not loaded yet (in the middle of an upload, or still to come), and what there is to say of them and
    of files that nothing is made of."""
    from ecommerce_platform.ingestion.watch import too_early
    from ecommerce_platform.ingestion.zone import UPLOADING, unfinished

    today = today_in(project.source)
    future = [day for day in drops.days if day > today]
    said = [unfinished(f"{project.zone.where}/{day}/{UPLOADING}") for day in sorted(drops.unfinished)]
    if future:
        said.append(too_early(future, today))
    if left := [str(path) for path in drops.left if not path.name.startswith((".", "_"))]:
        more = f" and {len(left) - 3:,} more" if len(left) > 3 else ""
        said.append(
            f"left, because no raw table of {project.source.name} names it: {', '.join(left[:3])}{more}\n"
            "  → add its name to `files` of a table in source.yml (a workbook's with its `sheet`), or remove it"
        )
    return {*drops.unfinished, *future}, said


def pending_ranges(project: Project) -> list[tuple[date, date]]:
    """Ranges of days that hold every load that is not taken over yet, in order.

    A day between two loads is valid and empty, so a range may cover it; days far apart are ranges of their own.
    """
    days = sorted(pending_loads(project, project.drops(PENDING)))
    ranges = [(day, day) for day in days[:1]]
    for day in days[1:]:
        first, last = ranges[-1]
        if (day - last).days > _FAR_APART and len(ranges) < _MOST_RANGES:
            ranges.append((day, day))
        else:
            ranges[-1] = (first, day)
    return ranges


def _newest_load(project: Project) -> tuple[date, date]:
    """The range of a build that has nothing to take over: the newest load once more, which finds that nothing changed."""
    today = today_in(project.source)
    newest = max((day for day in project.drops(PENDING).days if day <= today), default=today)
    return newest, newest


def _have_partitions(source: Source, first: date, last: date) -> None:
    start, newest = source.file.start_date, today_in(source)
    if first > last:
        raise InputError(f"{first} comes after {last}", where="--partitions", fix="write the earlier day first")
    if first < start:
        raise InputError(
            f"the load of {first} lies before the shop's first day, {start}",
            where=f"raw/{first}",
            fix="set start_date in source.yml to an earlier day, or give the folder the day of the delivery",
        )
    if last > newest:
        raise InputError(
            f"the load of {last} lies in the future; the newest possible is that of {newest}",
            where=f"raw/{last}",
            fix="give the folder the day of the delivery, or wait for that day",
        )


def _unparsable(settings: Settings) -> list[tuple[str, str, int, str]]:
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.warehouse.lookup import table_exists

    with open_warehouse(settings).connect() as con:
        if not table_exists(con, "bronze", "rejects"):
            return []
        found: list[tuple[str, str, int, str]] = con.execute(
            "select raw_table, reason_code, count(*), arg_min(concat(_load_date, '/', _source_file, "
            "coalesce(' line ' || line, ''), ': ', reason), (_load_date, _source_file, reject_number)) "
            "from bronze.rejects group by all order by all"
        ).fetchall()
        return found


class _Progress:
    """Turns step callbacks into (done, total)."""

    def __init__(self, listener: Listener | None) -> None:
        self.listener, self.done, self.total = listener, 0, 0

    def step(self, key: dg.AssetKey, what: str) -> None:
        self.tell(".".join(key.path), what)

    def tell(self, name: str, what: str) -> None:
        self.done += what != "start"
        if self.listener:
            self.listener(name, what, self.done, self.total)


def _selected(definitions: dg.Definitions, select: str) -> set[dg.AssetKey]:
    """The assets that are meant; "*" is every table, while publishing has to be asked for."""
    import dagster as dg

    from ecommerce_platform.orchestration.jobs import SNAPSHOT

    graph = definitions.resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            # Dagster's own parser passes a beta parameter along for `group:`; nothing we could call differently.
            warnings.simplefilter("ignore", dg.BetaWarning)
            keys = set(dg.AssetSelection.from_string(select).resolve(graph))
    except Exception as error:  # Dagster raises several kinds for a selection it cannot parse
        raise InputError(
            f"the selection {select!r} is not understood: {str(error).splitlines()[0]}",
            where="--select",
            fix="e.g. 'key:\"gold/kpi_summary\"', '+key:\"gold/rfm\"' or 'group:silver'",
        ) from None
    if select == "*":
        keys.discard(SNAPSHOT)
    if not keys:
        raise InputError(f"no asset matches {select!r}", where="--select", fix="`ecommerce status` lists the tables")
    return keys


def _read_events(events: Any, result: BuildResult) -> None:
    import dagster as dg

    blocked: dict[str, str] = {}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            name = ".".join(event.asset_key.path)
            if name not in result.built:
                result.built.append(name)
            if name.startswith("silver."):
                rejected = event.materialization.metadata.get("rejected_in_run")
                result.rejected += int(rejected.value) if rejected is not None else 0
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            name = ".".join(check.asset_key.path)
            if check.passed:
                continue
            if check.severity == dg.AssetCheckSeverity.WARN:
                result.warnings.append((name, check.check_name, check.description or ""))
            elif check.check_name in ("readable", "deliveries_usable", "rejects_within_limits"):
                result.findings.append((name, check.description or ""))
            else:
                blocked[name] = f"check {check.check_name}: {check.description}"
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            result.failed[event.step_key.replace("__", ".", 1)] = failure_text(event.step_failure_data)
    for name, text in blocked.items():
        result.failed.setdefault(name, text)
