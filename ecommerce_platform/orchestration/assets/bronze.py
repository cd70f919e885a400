"""Assets of raw tables: declarations; loading is `ingestion`."""

from typing import Any

import dagster as dg

from ecommerce_platform.ingestion import load_checks
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    bronze_key,
    code_references,
    load_check_result,
    load_check_specs,
    table_asset,
)
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.warehouse.lookup import row_count
from ecommerce_platform.warehouse.write import Written

#: Steps that read files try again: a file may be in the middle of being copied, a share away for a moment.
RETRY = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


def bronze_asset(project: Project, raw_table: str) -> dg.AssetsDefinition:
    """The asset that loads one raw table's drops as delivered."""
    source, raw = project.source, project.source.file.tables[raw_table]
    name, key = source.bronze_table(raw_table), bronze_key(project, raw_table)
    comes_from = (
        f"The elements of `{raw.explode}`" if raw.exploded else f"Files: {', '.join(f'`{f}`' for f in raw.files)}"
    )
    return table_asset(
        key,
        lambda step: _load(project, raw_table, step),
        checks=load_check_specs(load_checks.CHECKS, key),
        partitions=project.partitions,
        listener=project.listener,
        retry=RETRY,
        group_name="bronze",
        description=f"{raw.description}\n\nAs delivered, all columns text, with provenance. "
        f"{comes_from}; delivery: {raw.delivery}.",
        deps=[bronze_key(project, raw.exploded.table)] if raw.exploded else [],
        kinds={"duckdb", "file"},
        owners=["team:data"],
        tags={"source": source.name, "delivery": raw.delivery},
        metadata={"dagster/table_name": f"bronze.{name}", **code_references(source.file.path)},
    )


def _load(project: Project, raw_table: str, step: Step) -> Outcome:
    from ecommerce_platform.ingestion.bronze import load_pending

    source, raw = project.source, project.source.file.tables[raw_table]
    mappings = [m for found in project.compiled.values() for m in found if m.raw_table == raw_table]
    # Tried again, it looks again: the listing may be what went out of date.
    listing = f"{step.context.run.run_id}/{step.context.retry_number}"
    days, loaded = load_pending(
        step.connect, project.zone, project.drops(listing), source, raw_table, step.days, step.again,
        expected=list(dict.fromkeys(c for m in mappings for c in m.raw_columns)),
        required={c: target for m in mappings for c, target in m.required_raw.items()},
        scratch=project.settings.scratch, log=step.log.info,
    )  # fmt: skip
    with step.connect() as con:
        rows = row_count(con, "bronze", source.bronze_table(raw_table))
        found = load_checks.load_checks(con, raw_table, raw, days, loaded) if days else []
    for file, problem in loaded.problems:
        step.log.error(f"{raw_table}: {file}: {problem}")
    metadata: dict[str, Any] = {"loads": len(days), "rejected_in_run": loaded.rows_rejected}
    if loaded.columns_added:
        metadata["columns_added"] = ", ".join(loaded.columns_added)
    return Outcome(
        Written(rows, loaded.rows_inserted, 0, loaded.rows_deleted, (), changed=bool(days)),
        metadata,
        {
            day: {"rows_landed": rows + rejected, "rows_loaded": rows, "rows_rejected": rejected}
            for day, (rows, rejected) in loaded.rows_per_day.items()
        },
        [load_check_result(check, bronze_key(project, raw_table)) for check in found],
    )
