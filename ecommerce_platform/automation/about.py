"""What the published manifest tells of tables beyond their rows: lineage, owners, freshness, how their checks stand.

Gathered from the definitions and from Dagster's instance, as plain data: readers of a snapshot have neither. What the
manifest says of the files is `warehouse/publish.py`'s business, how readers see it `warehouse/snapshots.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ecommerce_platform.automation.alerts import presentable
from ecommerce_platform.automation.findings import Watched, newest_builds, without_examples
from ecommerce_platform.automation.runs import evaluation_of, last_evaluated
from ecommerce_platform.warehouse.sql_model import column_lineage

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.assets.tables import Ground

#: Schemas of the warehouse whose tables are told of.
LAYERS = ("bronze", "silver", "gold", "ml")


def about_tables(instance: dg.DagsterInstance, ground: Ground, seen: Watched) -> dict[str, dict[str, Any]]:
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
    origins = _origins(ground)
    found: dict[str, dict[str, Any]] = {}
    for table, reads in sorted(seen.reads.items()):
        if table.partition(".")[0] not in LAYERS:
            continue  # the snapshot itself
        at = built.get(table)
        found[table] = {
            **_meaning(ground, table, origins.get(table, {})),
            "built_at": _time(at) if at else None,
            "reads": sorted(reads),
            "checks": checks.get(table, {}),
        }
    return found


def _meaning(ground: Ground, table: str, origins: Mapping[str, list[str]]) -> dict[str, Any]:
    layer, _, name = table.partition(".")
    contract = ground.contracts.get(table)
    if contract:
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
                    "reads": origins.get(n, []),
                }
                for n, c in contract.all_columns.items()
            },
        }
    tables = {ground.source.bronze_table(raw): file for raw, file in ground.source.file.tables.items()}
    return {
        "layer": layer,
        "subject": None,
        "description": tables[name].description if layer == "bronze" and name in tables else None,
        "grain": "one row per delivered record" if layer == "bronze" else None,
        "owners": ["team:data"],
        "fresh_within_hours": None,
        "columns": {},
    }


def _origins(ground: Ground) -> dict[str, dict[str, list[str]]]:
    """Table → column → the columns that its values come from, for mappings, histories and SELECTs."""
    found: dict[str, dict[str, list[str]]] = {}
    for entity, mappings in ground.compiled.items():
        columns: dict[str, list[str]] = {}
        for mapping in mappings:
            for name, raw in mapping.column_sources().items():
                bronze = f"bronze.{ground.source.bronze_table(mapping.raw_table)}"
                columns.setdefault(name, []).extend(f"{bronze}.{column}" for column in raw)
        found[f"silver.{entity}"] = columns
    for contract in ground.contracts.values():
        if contract.history_of:
            found[contract.table] = found.get(f"silver.{contract.history_of}", {})
    for table, model in ground.models.items():
        lineage = column_lineage(model, ground.catalog.tables)
        found[table] = {name: [".".join(source) for source in sources] for name, sources in lineage.items()}
    return found


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
