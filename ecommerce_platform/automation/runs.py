"""Running the graph from outside the UI, and reading back how it stands.

The command line's `build` and `status`: plain data out, so that they can be tested and printed by anyone.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ecommerce_platform.automation.partitions import FULL_CHECKS, ONLY_PENDING, range_tags
from ecommerce_platform.errors import InputError, PlatformError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.assets.tables import Ground
    from ecommerce_platform.automation.alerts import Finding
    from ecommerce_platform.automation.findings import Watched

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
    """
    from ecommerce_platform.assets.expectations import EXPECTATIONS
    from ecommerce_platform.automation.instance import open_instance
    from ecommerce_platform.automation.jobs import BUILD_JOB, EXPECTATIONS_JOB
    from ecommerce_platform.build import build_definitions, read_ground
    from ecommerce_platform.ingestion.zone import open_zone

    zone = open_zone(settings)
    if not zone.exists():
        raise InputError(
            "there are no drops yet",
            where=zone.where,
            fix="run `ecommerce generate`, `ecommerce land DIR --source NAME` or `ecommerce extract`",
        )
    result = BuildResult()
    with open_instance(settings) as instance:
        progress = _Progress(listener)
        definitions = build_definitions(settings, listener=progress.step)
        keys = _selected(definitions, select)
        ground = read_ground(settings)
        partitions = ground.partitions
        ranges = [days] if days else pending_ranges(settings)
        for first, last in ranges:
            _have_partitions(partitions, first, last)
        # Last and once: their step costs seconds, and rules look across tables.
        asked = {table for suite in ground.suites.values() for table in suite.reads}
        ask = not asked.isdisjoint(".".join(key.path) for key in keys)
        progress.total = len(keys) * len(ranges) + ask
        started = time.monotonic()

        def execute(job: dg.JobDefinition, tags: dict[str, str]) -> str:
            with _quiet_dagster():
                executed = job.execute_in_process(
                    instance=instance,
                    raise_on_error=False,
                    tags=tags | ({FULL_CHECKS: "true"} if full_checks else {}),
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                )
            _read_events(executed.all_events, result)
            return executed.run_id

        # Not by `asset_selection`, which would take every check on the selected tables along.
        every = definitions.resolve_asset_graph().asset_check_keys
        checks = {check for check in every if check.asset_key in keys and check.name != EXPECTATIONS}
        build = definitions.resolve_job_def(BUILD_JOB).get_subset(asset_selection=keys, asset_check_selection=checks)
        for first, last in ranges:
            tags = range_tags(first, last)
            if days is None:
                tags[ONLY_PENDING] = "true"
            result.run_id = execute(build, tags)
            if result.failed:
                break
        if ask and not result.failed:
            progress.tell("business expectations", "start")
            execute(definitions.resolve_job_def(EXPECTATIONS_JOB), {})
            progress.tell("business expectations", "done")
        result.seconds = time.monotonic() - started
        result.unparsable = _unparsable(settings)
        tables = {".".join(key.path) for key in keys}
        result.skipped = len(tables - set(result.built) - set(result.failed))
    return result


def pending_ranges(settings: Settings) -> list[tuple[date, date]]:
    """Ranges of days that hold every load that is not taken over yet, in order; never empty.

    A day between two loads is valid and empty, so a range may cover it; days far apart are ranges of their own. With
    nothing to take over, it is the newest load once more, which finds that nothing has changed.
    """
    from zoneinfo import ZoneInfo

    from ecommerce_platform.assets.resources import open_warehouse
    from ecommerce_platform.build import read_ground
    from ecommerce_platform.ingestion.bronze import pending_days
    from ecommerce_platform.ingestion.zone import UPLOADING, unfinished
    from ecommerce_platform.warehouse.silver import lagging_days

    ground = read_ground(settings)
    drops = ground.zone.drops(ground.source)
    with open_warehouse(settings).connect() as con:
        pending = {day for raw, files in drops.tables.items() for day in pending_days(con, ground.source, raw, files)}
        pending = (pending - drops.unfinished) | lagging_days(con)
    for day in sorted(drops.unfinished):
        _log.warning(unfinished(f"{ground.zone.where}/{day}/{UPLOADING}"))
    if not pending:
        today = datetime.now(ZoneInfo(ground.source.file.time_zone)).date()
        newest = max(drops.days, default=today)
        return [(newest, newest)]
    days = sorted(pending)
    ranges = [(days[0], days[0])]
    for day in days[1:]:
        first, last = ranges[-1]
        if (day - last).days > _FAR_APART and len(ranges) < _MOST_RANGES:
            ranges.append((day, day))
        else:
            ranges[-1] = (first, day)
    return ranges


def _have_partitions(partitions: dg.DailyPartitionsDefinition, first: date, last: date) -> None:
    start = partitions.get_first_partition_key() or ""
    newest = partitions.get_last_partition_key() or ""
    if first > last:
        raise InputError(f"{first} comes after {last}", where="--partitions", fix="write the earlier day first")
    if first.isoformat() < start:
        raise InputError(
            f"the load of {first} lies before the shop's first day, {start}",
            where=f"raw/{first}",
            fix="set start_date in source.yml to an earlier day, or give the folder the day of the delivery",
        )
    if last.isoformat() > newest:
        raise InputError(
            f"the load of {last} lies in the future; the newest possible is that of {newest}",
            where=f"raw/{last}",
            fix="give the folder the day of the delivery, or wait for that day",
        )


def _unparsable(settings: Settings) -> list[tuple[str, str, int, str]]:
    from ecommerce_platform.assets.resources import open_warehouse
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

    from ecommerce_platform.automation.jobs import SNAPSHOT

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
                rejected = event.materialization.metadata.get("rows_rejected")
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


def failure_text(data: Any) -> str:
    """Why a step failed, from the data of its failure event: what the platform said, else the exception."""
    failure = data.user_failure_data
    if failure is not None and failure.description:
        return str(failure.description)
    error = data.error
    return str((error.cause or error).message).strip() if error is not None else "It failed."


class _quiet_dagster:
    """Dagster prints each event to the console; here the bar and the tables at the end say what matters."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("dagster")
        self.level = self.logger.level
        self.logger.setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


@dataclass
class Status:
    """How a platform instance stands; rows of text and numbers, ready to print."""

    source: str
    tables: list[tuple[Any, ...]] = field(default_factory=list)
    loads: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[tuple[str, int]] = field(default_factory=list)
    #: Why it is not known what is waiting.
    unlisted: str = ""
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    checks: list[tuple[Any, ...]] = field(default_factory=list)


def read_status(settings: Settings) -> Status:
    """Tables with rows and last build, loads with where their rows went, rejects, failed checks.

    Raises:
        SettingsError: warehouse or DAGSTER_HOME belong to another source.
    """
    from ecommerce_platform.assets.resources import open_warehouse
    from ecommerce_platform.build import read_ground
    from ecommerce_platform.ingestion.bronze import pending_days
    from ecommerce_platform.warehouse.lookup import table_exists

    ground = read_ground(settings)
    status = Status(settings.source_name)
    if not settings.warehouse.is_file():
        return status
    drops = None
    try:
        drops = ground.zone.drops(ground.source) if ground.zone.exists() else None
    except PlatformError as error:  # the state of the tables is worth knowing all the same
        status.unlisted = str(error)
    with open_warehouse(settings).connect() as con:
        names = con.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_schema in ('bronze', 'silver', 'gold', 'ml') "
            "order by array_position(['bronze', 'silver', 'gold', 'ml'], table_schema), table_name"
        ).fetchall()
        rows = {}
        for schema, name in names:
            row = con.execute(f'select count(*) from {schema}."{name}"').fetchone()
            rows[f"{schema}.{name}"] = int(row[0]) if row else 0
        if table_exists(con, "bronze", "files"):
            status.loads = _loads(con, table_exists(con, "silver", "row_accounting"))
        if table_exists(con, "silver", "rejects"):
            status.rejects = con.execute(
                "select entity, reason_code, count(*), min(left(reason, 100)) from silver.rejects group by all order by 3 desc"
            ).fetchall()
        if drops is not None:
            waiting = {
                raw: len(pending_days(con, ground.source, raw, files) - drops.unfinished)
                for raw, files in drops.tables.items()
            }
            status.waiting = [(raw, n) for raw, n in waiting.items() if n]
    built, status.checks = _history(settings)
    status.tables = [(name, count, built.get(name, "")) for name, count in rows.items()]
    return status


def _loads(con: Any, accounted: bool) -> list[tuple[Any, ...]]:
    accounting = (
        "select _raw_table as raw_table, sum(rows_rejected) as rejected, sum(rows_used) as used, "
        "sum(rows_superseded) as superseded from silver.row_accounting group by 1"
        if accounted
        else "select null as raw_table, null as rejected, null as used, null as superseded where false"
    )
    found: list[tuple[Any, ...]] = con.execute(
        f"""select f.raw_table, count(distinct f._load_date), cast(min(f._load_date) as varchar),
            cast(max(f._load_date) as varchar), cast(sum(f.rows_loaded) as bigint), cast(sum(f.rows_rejected) as bigint),
            cast(any_value(a.rejected) as bigint), cast(any_value(a.used) as bigint), cast(any_value(a.superseded) as bigint)
        from bronze.files as f left join ({accounting}) as a on a.raw_table = f.raw_table group by 1 order by 1"""
    ).fetchall()
    return found


def _history(settings: Settings) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Last materialization of each asset, and the checks whose last evaluation failed."""

    from ecommerce_platform.automation.instance import open_instance
    from ecommerce_platform.build import build_definitions

    built: dict[str, str] = {}
    checks: list[tuple[Any, ...]] = []
    with open_instance(settings) as instance:
        graph = build_definitions(settings).resolve_asset_graph()
        for record in instance.get_asset_records():
            entry = record.asset_entry
            if entry.last_materialization is not None:
                when = entry.last_materialization.timestamp
                built[".".join(entry.asset_key.path)] = f"{_local(when):%Y-%m-%d %H:%M}"
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(graph.asset_check_keys))
        for key, found in sorted(latest.items(), key=lambda item: str(item[0])):
            evaluation = evaluation_of(last_evaluated(instance, key, found))
            if evaluation is not None and not evaluation.passed:
                checks.append(
                    (".".join(key.asset_key.path), key.name, evaluation.severity.value, evaluation.description or "")
                )
    return built, checks


def evaluation_of(record: Any) -> dg.AssetCheckEvaluation | None:
    """The result that a record of a check holds; None where the check was only planned."""
    import dagster as dg

    event = record.event.dagster_event if record is not None and record.event else None
    if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    evaluation: dg.AssetCheckEvaluation = event.asset_check_evaluation_data
    return evaluation


def last_evaluated(instance: dg.DagsterInstance, key: dg.AssetCheckKey, latest: Any) -> Any:
    """The record with the result that still holds: runs since then planned the check, but no row that it is about had
    changed. None where there is none.
    """
    if evaluation_of(latest) is not None:
        return latest
    cursor = None
    while records := instance.event_log_storage.get_asset_check_execution_history(key, limit=50, cursor=cursor):
        if found := next((record for record in records if evaluation_of(record) is not None), None):
            return found
        cursor = records[-1].id
    return None


def read_findings(settings: Settings) -> tuple[list[Finding], str]:
    """What is wrong now, the worst and newest first, and the shop's time zone.

    Raises:
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    from ecommerce_platform.automation.alerts import AlertState
    from ecommerce_platform.automation.findings import look_at_all
    from ecommerce_platform.automation.instance import open_instance

    ground, seen = _watched(settings)
    with open_instance(settings) as instance:
        found = look_at_all(instance, settings, seen, AlertState(), time.time()).found
    return sorted(found, key=lambda f: (f.severity != "error", -f.at, f.key)), ground.source.file.time_zone


def read_about(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the manifest tells of tables beyond their rows; see `about_tables`.

    Raises:
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    from ecommerce_platform.automation.about import about_tables
    from ecommerce_platform.automation.instance import open_instance

    ground, seen = _watched(settings)
    with open_instance(settings) as instance:
        return about_tables(instance, ground, seen)


def _watched(settings: Settings) -> tuple[Ground, Watched]:
    import dagster as dg

    from ecommerce_platform.build import build_definitions, read_ground, watched_tables

    definitions = build_definitions(settings)
    given = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    ground = read_ground(settings)
    return ground, watched_tables(ground, [asset for asset in given if isinstance(asset, dg.AssetsDefinition)])


def _local(timestamp: float) -> Any:
    return datetime.fromtimestamp(timestamp)
