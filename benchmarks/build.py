"""The platform's whole build as a process of its own, with the seconds of each of its parts.

`python -m benchmarks.build DATA_DIR` prints JSON: seconds of the run, of each table (from opening the warehouse to the commit
with its checks) and by part. What the tables do not take is bookkeeping: starting Python and Dagster, reading
definitions, planning, recording.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecommerce_platform.orchestration.project import Project
    from ecommerce_platform.settings import Settings

#: What a script of SELECTs does as well …
COMPARED = ("loading", "mapping", "history", "selects")
#: … and what it does not.
APART = ("linking", "profiles", "drift", "anomalies", "correlations", "models", "expectations", "accounting")
_OWN = {
    "silver.customer_links": "linking",
    "silver.customer_clusters": "linking",
    "silver.entity_accounting": "accounting",
    "silver.row_accounting": "accounting",
    "gold.table_profiles": "profiles",
    "gold.profile_drift": "drift",
    "gold.anomalies": "anomalies",
    "gold.correlations": "correlations",
    "business expectations": "expectations",
}


def part_of(table: str, project: Project) -> str:
    """The part of the build that a step belongs to.

    Raises:
        KeyError: no part is known for it.
    """
    if table in _OWN:
        return _OWN[table]
    layer = table.partition(".")[0]
    if layer in ("bronze", "ml"):
        return {"bronze": "loading", "ml": "models"}[layer]
    if table in project.models:
        return "selects"
    contract = project.contracts[table]
    if contract.history_of:
        return "history"
    if contract.entity or table in ("silver.shop", "silver.brand_rules"):
        return "mapping"
    raise KeyError(f"{table}: say in benchmarks/build.py to which part of the build it belongs")


def compared(project: Project) -> dict[str, dict[str, str]]:
    """The tables that both ways make, with their columns but where a row was delivered: table → column → type.

    Of raw tables, the columns that some mapping reads: the script takes no others out of JSON.
    """
    tables: dict[str, dict[str, str]] = {}
    for mapping in (m for found in project.compiled.values() for m in found):
        columns = tables.setdefault(mapping.bronze.replace('"', ""), {})
        columns.update(dict.fromkeys(mapping.raw_columns, "VARCHAR"))
    for table, contract in project.contracts.items():
        made = table in project.models or contract.entity or contract.history_of or table == "silver.shop"
        if made and part_of(table, project) in COMPARED:
            tables[table] = {name: column.type for name, column in contract.columns.items()}
    return tables


def build(settings: Settings) -> dict:
    """Builds everything that is pending; what it took, by table and part.

    Raises:
        SystemExit: a table failed.
    """
    from ecommerce_platform.operations.builds import run_build
    from ecommerce_platform.orchestration.project import read_project

    begun: dict[str, float] = {}
    tables: dict[str, float] = {}

    def clock(table: str, what: str, done: int, total: int) -> None:
        if what == "start":
            begun[table] = time.perf_counter()
        else:
            tables[table] = time.perf_counter() - begun[table]

    result = run_build(settings, listener=clock)
    if result.failed:
        sys.exit(f"the build failed: {result.failed}")
    project = read_project(settings)
    parts = Counter(dict.fromkeys((*COMPARED, *APART), 0.0))
    for table, seconds in tables.items():
        parts[part_of(table, project)] += seconds
    return {"run": result.seconds, "parts": dict(parts), "tables": tables, "steps": len(tables)}


def partitioned(settings: Settings) -> int:
    """How many assets have a partition per day."""
    from ecommerce_platform.orchestration.assembly import build_definitions

    graph = build_definitions(settings).resolve_asset_graph()
    return sum(graph.get(key).partitions_def is not None for key in graph.get_all_asset_keys())


def main() -> None:
    from ecommerce_platform.settings import read_settings

    data = Path(sys.argv[1])
    print(json.dumps(build(read_settings(data_dir=data, dagster_home=data / "dagster_home"))))


if __name__ == "__main__":
    main()
