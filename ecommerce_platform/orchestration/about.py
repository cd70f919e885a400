"""What the published manifest tells of tables beyond their rows: lineage, owners, freshness, how their checks stand.

Gathered from the definitions and from Dagster's instance, as plain data: readers of a snapshot have neither. What the
manifest says of the files is in `publishing/publish.py`, how readers see it in `reading/snapshots.py`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ecommerce_platform.alerting.alerts import presentable
from ecommerce_platform.orchestration.evaluations import evaluation_of, last_evaluated
from ecommerce_platform.orchestration.findings import Watched, newest_builds, without_examples

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.orchestration.project import Project

#: Schemas of the warehouse whose tables are told of.
LAYERS = ("bronze", "silver", "gold", "ml")


def about_tables(instance: dg.DagsterInstance, project: Project, seen: Watched) -> dict[str, dict[str, Any]]:
    """What there is to tell of every table and raw table of this source.

    Returns:
        table (`schema.table`) → its `layer`, `subject`, `description`, `grain`, `owners`, `fresh_within_hours` (None: no
        limit), `built_at` (UTC, ISO; None: never), `reads` (tables it is made from), `columns` (name → `type`, `unit`,
        `description`, `personal`, `reads`: columns its values come from as `schema.table.column`) and `checks` (name →
        `passed`, `severity`, `at`, `says`, `meaning`), which are those that were ever evaluated. The rows that show what is
        wrong are not in it.
    """
    built = newest_builds(instance, seen.reads)
    checks = _checks(instance, seen)
    found: dict[str, dict[str, Any]] = {}
    for table, reads in sorted(seen.reads.items()):
        if table.partition(".")[0] not in LAYERS:
            continue  # the snapshot itself
        at = built.get(table)
        found[table] = {
            **_meaning(project, table),
            "built_at": _time(at) if at else None,
            "reads": sorted(reads),
            "checks": checks.get(table, {}),
        }
    return found


def _meaning(project: Project, table: str) -> dict[str, Any]:
    layer, _, name = table.partition(".")
    contract = project.contracts.get(table)
    if contract:
        origins = project.lineage.of(table)
        return {
            "layer": layer,
            "subject": contract.subject,
            "description": contract.description,
            "grain": contract.grain,
            "owners": list(contract.owners),
            "fresh_within_hours": contract.fresh_within_hours,
            "columns": {
                n: {
                    "type": c.type,
                    "unit": c.unit,
                    "description": c.description,
                    "personal": c.pii,
                    "reads": [".".join(origin) for origin in origins.get(n, ())],
                }
                for n, c in contract.all_columns.items()
            },
        }
    tables = {project.source.bronze_table(raw): file for raw, file in project.source.file.tables.items()}
    return {
        "layer": layer,
        "subject": None,
        "description": tables[name].description if layer == "bronze" and name in tables else None,
        "grain": "one row per delivered record" if layer == "bronze" else None,
        "owners": ["team:data"],
        "fresh_within_hours": None,
        "columns": {},
    }


def _checks(instance: dg.DagsterInstance, seen: Watched) -> dict[str, dict[str, dict[str, Any]]]:
    import dagster as dg

    keys = [dg.AssetCheckKey(dg.AssetKey(table.split(".")), name) for table, name in seen.checks]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for (table, name), key in sorted(zip(seen.checks, keys, strict=True), key=lambda pair: pair[0]):
        latest = newest.get(key)
        record = last_evaluated(instance, key, latest) if latest else None
        evaluation = evaluation_of(record)
        if record is None or evaluation is None:
            continue
        said, _ = without_examples(evaluation)
        found.setdefault(table, {})[name] = {
            "passed": evaluation.passed,
            "severity": evaluation.severity.value.lower(),
            "at": _time(record.event.timestamp),
            "says": presentable(said, personal=seen.personal(table)) if said and not evaluation.passed else None,
            "meaning": seen.checks[table, name].partition("\n")[0] or None,
        }
    return found


def _time(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat()
