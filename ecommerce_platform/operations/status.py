"""How everything stands: tables, loads, rejects, failed checks and findings, as plain rows that anyone can print."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.operations.builds import held_back
from ecommerce_platform.orchestration.evaluations import evaluation_of, last_evaluated
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.alerting.alerts import Finding
    from ecommerce_platform.orchestration.project import Project


@dataclass
class Status:
    """How a platform instance stands; rows of text and numbers, ready to print."""

    source: str
    tables: list[tuple[Any, ...]] = field(default_factory=list)
    loads: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: list[tuple[str, int]] = field(default_factory=list)
    #: What there is to say of drops that are not loaded yet on purpose.
    held: list[str] = field(default_factory=list)
    #: Why it is not known what is waiting.
    unlisted: str = ""
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    checks: list[tuple[Any, ...]] = field(default_factory=list)


def read_status(settings: Settings) -> Status:
    """Tables with rows and last build, loads with where their rows went, rejects, failed checks.

    Raises:
        SettingsError: warehouse or DAGSTER_HOME belong to another source.
    """
    from ecommerce_platform.ingestion.bronze import pending_days
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.warehouse.lookup import table_exists

    project = read_project(settings)
    status = Status(settings.source_name)
    if not settings.warehouse.is_file():
        return status
    drops = None
    try:
        drops = project.zone.drops(project.source) if project.zone.exists() else None
    except PlatformError as error:  # the state of the tables is worth knowing all the same
        status.unlisted = str(error)
    with open_warehouse(settings).connect() as con:
        rows = _rows(con)
        if table_exists(con, "bronze", "files"):
            status.loads = _loads(con, table_exists(con, "silver", "row_accounting"))
        if table_exists(con, "silver", "rejects"):
            status.rejects = con.execute(
                "select entity, reason_code, count(*), min(left(reason, 100)) from silver.rejects group by all order by 3 desc"
            ).fetchall()
        if drops is not None:
            held, status.held = held_back(project, drops)
            waiting = {
                raw: len(pending_days(con, project.source, raw, files) - held) for raw, files in drops.tables.items()
            }
            status.waiting = [(raw, n) for raw, n in waiting.items() if n]
    built, status.checks = _history(project)
    status.tables = [(name, count, built.get(name, "")) for name, count in rows.items()]
    return status


def _rows(con: DuckDBPyConnection) -> dict[str, int]:
    """Every table's number of rows, layer by layer."""
    names = con.execute(
        "select table_schema, table_name from information_schema.tables "
        "where table_schema in ('bronze', 'silver', 'gold', 'ml') "
        "order by array_position(['bronze', 'silver', 'gold', 'ml'], table_schema), table_name"
    ).fetchall()
    rows = {}
    for schema, name in names:
        row = con.execute(f'select count(*) from {schema}."{name}"').fetchone()
        rows[f"{schema}.{name}"] = int(row[0]) if row else 0
    return rows


def read_findings(settings: Settings) -> tuple[list[Finding], str]:
    """What is wrong now, the worst and newest first, and the shop's time zone.

    Raises:
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    from ecommerce_platform.alerting.alerts import AlertState
    from ecommerce_platform.orchestration.assembly import watched
    from ecommerce_platform.orchestration.findings import look_at_all
    from ecommerce_platform.orchestration.instance import open_instance
    from ecommerce_platform.orchestration.project import read_project

    project = read_project(settings)
    seen = watched(project)
    with open_instance(settings) as instance:
        found = look_at_all(instance, settings, seen, AlertState(), time.time()).found
    return sorted(found, key=lambda f: (f.severity != "error", -f.at, f.key)), project.source.file.time_zone


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


def _history(project: Project) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Last materialization of each asset, and the checks whose last evaluation failed."""

    from ecommerce_platform.orchestration.assembly import declare
    from ecommerce_platform.orchestration.instance import open_instance

    built: dict[str, str] = {}
    checks: list[tuple[Any, ...]] = []
    with open_instance(project.settings) as instance:
        graph = declare(project).resolve_asset_graph()
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


def _local(timestamp: float) -> Any:
    return datetime.fromtimestamp(timestamp)
