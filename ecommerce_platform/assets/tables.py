"""Assets for bronze, silver and every table that is a SELECT: declarations only.

Each function takes what it declares (a raw table, an entity, a parsed SELECT) and returns one asset. Loading is
`ingestion`, mapping and writing are `warehouse`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from ecommerce_platform.assets.declare import (
    StepListener,
    asset_key,
    check_specs,
    code_references,
    column_schema,
    describe,
    markdown_table,
    preview,
    report,
)
from ecommerce_platform.assets.resources import WarehouseResource
from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.ingestion.landing import Drops
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.accounting import account_rows
from ecommerce_platform.warehouse.history import check_mappings, history_code_version, load_history
from ecommerce_platform.warehouse.mapping import CompiledMapping
from ecommerce_platform.warehouse.silver import code_version, fill_shop, load_entity
from ecommerce_platform.warehouse.sql_model import SqlModel, column_lineage
from ecommerce_platform.warehouse.write import Written, replace_table

#: How `bronze.files.problem` begins where something is worth knowing but no fault.
NOTE = "note:"
#: Bronze tables written beside others: read by SELECTs, but no assets of their own.
LEDGERS = ("bronze.files", "bronze.rejects", "silver.loads", "silver.rejects")


@dataclass(frozen=True)
class Ground:
    """What all assets are declared from."""

    settings: Settings
    catalog: Catalog
    source: Source
    compiled: Mapping[str, Sequence[CompiledMapping]]
    listener: StepListener | None = None
    #: The drops as the newest run found them: all bronze assets of a run work from one listing.
    listing: dict[str, Drops] = field(default_factory=dict)

    def drops(self, run_id: str) -> Drops:
        """The drops there are, listed once per run: with years of days a listing takes a tenth of a second."""
        from ecommerce_platform.ingestion.landing import list_drops

        if run_id not in self.listing:
            self.listing.clear()
            self.listing[run_id] = list_drops(self.settings.raw, self.source)
        return self.listing[run_id]


def bronze_asset(ground: Ground, raw_table: str) -> dg.AssetsDefinition:
    """The asset that loads one raw table's drops as delivered."""
    source = ground.source
    raw = source.file.tables[raw_table]
    name = source.bronze_table(raw_table)
    key = dg.AssetKey(["bronze", name])
    mappings = [m for found in ground.compiled.values() for m in found if m.raw_table == raw_table]
    expected = list(dict.fromkeys(c for m in mappings for c in m.raw_columns))
    required = {c: target for m in mappings for c, target in m.required_raw.items()}
    readable = dg.AssetCheckSpec(
        "readable",
        asset=key,
        description="Every delivered file could be read in whole and has the columns its mappings need. What could "
        "be read is loaded either way; what could not stands in bronze.rejects.",
    )

    @dg.asset(
        key=key,
        group_name="bronze",
        description=f"{raw.description}\n\nAs delivered, all columns text, with provenance. "
        f"Files: {', '.join(f'`{f}`' for f in raw.files)}; delivery: {raw.delivery}.",
        kinds={"duckdb", "file"},
        owners=["team:data"],
        tags={"source": source.name, "delivery": raw.delivery},
        metadata={"dagster/table_name": f"bronze.{name}", **code_references(source.file.path)},
        check_specs=[readable],
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        from ecommerce_platform.ingestion.bronze import load_bronze, pending_days

        checks: list[dg.AssetCheckResult] = []

        def write() -> tuple[Written, dict[str, Any]]:
            files = ground.drops(context.run.run_id).tables[raw_table]
            with warehouse.get_connection(context.log) as con:
                days = pending_days(con, source, raw_table, files)
                loaded = load_bronze(
                    con, source, raw_table, files, days,
                    expected=expected, required=required, scratch=ground.settings.scratch,
                )  # fmt: skip
                row = con.execute(f'select count(*) from bronze."{name}"').fetchone()
                problems = con.execute(
                    "select _load_date, _source_file, problem from bronze.files "
                    "where raw_table = ? and problem is not null order by all",
                    [raw_table],
                ).fetchall()
            for file, problem in loaded.problems:
                context.log.error(f"{raw_table}: {file}: {problem}")
            checks.append(_readable(key, problems))
            rows = int(row[0]) if row else 0
            metadata: dict[str, Any] = {
                "loads": len(days),
                "rows_rejected": loaded.rows_rejected,
                "columns_added": ", ".join(loaded.columns_added) or None,
            }
            return Written(rows, loaded.rows_inserted, 0, loaded.rows_deleted, ()), {
                k: v for k, v in metadata.items() if v is not None
            }

        for event in report(key, _BRONZE, write, ground.listener):
            if isinstance(event, dg.MaterializeResult):
                event = event._replace(check_results=checks)
            yield event

    return load


#: Bronze tables have the delivery's columns, so there is no contract to show; the name only satisfies `report`.
_BRONZE = Contract.model_construct(name="bronze", layer="bronze", columns={}, key=())


def _readable(key: dg.AssetKey, problems: Sequence[tuple[date, str, str]]) -> dg.AssetCheckResult:
    # A note (a header and no records, say) is worth knowing, but nothing is wrong with the file.
    faults = [p for p in problems if not p[2].startswith(NOTE)]
    shown = [(str(day), file, text) for day, file, text in (faults or problems)[:50]]
    first = "; ".join(f"{day}/{file}: {text}" for day, file, text in shown[:3])
    return dg.AssetCheckResult(
        passed=not problems,
        check_name="readable",
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if faults else dg.AssetCheckSeverity.WARN,
        description=first or None,
        metadata={
            "files": len(problems),
            "problems": dg.MetadataValue.md(markdown_table(["day", "file", "problem"], shown)),
        },
    )


def entity_asset(ground: Ground, contract: Contract) -> dg.AssetsDefinition:
    """The asset that fills a canonical entity from the bronze tables mapped to it."""
    mappings = ground.compiled[contract.name]
    key = asset_key(contract.table)
    files = [m.mapping.path for m in mappings]
    sql = "\n\n".join(f"-- {m.mapping.path.name}\n{m.mapping.sql.strip()}" for m in mappings)
    usable = dg.AssetCheckSpec(
        "deliveries_usable",
        asset=key,
        description="Every full delivery had at least one usable row; one that had none leaves the previous in force.",
    )
    full = any(m.delivery == "full" for m in mappings)

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["bronze", ground.source.bronze_table(m.raw_table)]) for m in mappings],
        description=describe(contract, sql or None, None if mappings else "This source does not fill it: it is empty."),
        code_version=code_version(contract, mappings),
        metadata={
            "dagster/column_schema": column_schema(contract.all_columns),
            "dagster/table_name": contract.table,
            **code_references(contract.path, *files),
        },
        check_specs=[*check_specs(contract, key), *([usable] if full else [])],
        **_labels(contract),
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        problems: list[str] = []

        def write() -> tuple[Written, dict[str, Any]]:
            with warehouse.get_connection(context.log) as con:
                loaded = load_entity(con, ground.catalog, contract, mappings)
                shown = preview(con, contract)
            problems.extend(loaded.problems)
            for problem in problems:
                context.log.error(problem)
            lineage = {
                name: [dg.TableColumnDep(asset_key=dg.AssetKey(["bronze", ground.source.bronze_table(raw)]), column_name=c)
                       for raw, c in sources]
                for name, sources in _mapping_lineage(mappings).items()
            }  # fmt: skip
            return Written(loaded.rows, loaded.inserted, loaded.updated, loaded.deleted, loaded.checks), {
                "loads": len(loaded.loads),
                "rows_rejected": loaded.rejected,
                "preview": shown,
                "dagster/column_lineage": dg.TableColumnLineage(lineage),
            }

        for event in report(key, contract, write, ground.listener):
            if full and isinstance(event, dg.MaterializeResult):
                results = [*(event.check_results or []), _usable(key, problems)]
                event = event._replace(check_results=results)
            yield event

    return load


def history_asset(ground: Ground, contract: Contract) -> dg.AssetsDefinition:
    """The asset that keeps an entity's versions; it follows the entity and reads the same bronze tables.

    Raises:
        DefinitionError: one of the entity's mappings gives rows that have no versions.
    """
    entity = ground.catalog.contract(f"silver.{contract.history_of}")
    mappings = ground.compiled[entity.name]
    check_mappings(contract, mappings)
    key = asset_key(contract.table)
    bronze = {m.raw_table: dg.AssetKey(["bronze", ground.source.bronze_table(m.raw_table)]) for m in mappings}

    @dg.asset(
        key=key,
        deps=[asset_key(entity.table), *bronze.values()],
        description=describe(contract, None, None if mappings else "This source does not fill it: it is empty."),
        code_version=history_code_version(contract, entity, mappings),
        metadata={
            "dagster/column_schema": column_schema(contract.all_columns),
            "dagster/table_name": contract.table,
            **code_references(contract.path, *(m.mapping.path for m in mappings)),
        },
        check_specs=check_specs(contract, key),
        **_labels(contract),
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        def write() -> tuple[Written, dict[str, Any]]:
            with warehouse.get_connection(context.log) as con:
                loaded = load_history(con, ground.catalog, contract, mappings)
                shown = preview(con, contract)
            lineage = {
                name: [dg.TableColumnDep(asset_key=bronze[raw], column_name=c) for raw, c in sources]
                for name, sources in _mapping_lineage(mappings).items()
            }
            return Written(loaded.rows, loaded.inserted, loaded.updated, loaded.deleted, loaded.checks), {
                "loads": len(loaded.loads),
                "preview": shown,
                "dagster/column_lineage": dg.TableColumnLineage(lineage),
            }

        yield from report(key, contract, write, ground.listener)

    return load


def _usable(key: dg.AssetKey, problems: Sequence[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not problems,
        check_name="deliveries_usable",
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(problems[:3]) or None,
    )


def _mapping_lineage(mappings: Sequence[CompiledMapping]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for mapping in mappings:
        for name, columns in mapping.column_sources().items():
            found.setdefault(name, []).extend((mapping.raw_table, column) for column in columns)
    return found


def model_asset(ground: Ground, model: SqlModel) -> dg.AssetsDefinition:
    """The asset of a table that is a SELECT."""
    contract, table = model.contract, model.table
    key = asset_key(contract.table)
    assert table.sql is not None
    assert table.sql_path is not None

    @dg.asset(
        key=key,
        deps=_deps(model, ground.catalog),
        description=describe(contract, table.sql),
        code_version=model.code_version,
        metadata={
            "dagster/column_schema": column_schema(contract.all_columns),
            "dagster/table_name": contract.table,
            **code_references(table.sql_path, contract.path),
        },
        check_specs=check_specs(contract, key),
        **_labels(contract),
    )
    def build(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        def write() -> tuple[Written, dict[str, Any]]:
            assert table.sql is not None
            with warehouse.get_connection(context.log) as con:
                written = replace_table(con, contract, table.sql)
                shown = preview(con, contract)
            lineage = {
                name: [dg.TableColumnDep(asset_key=asset_key(parent), column_name=column) for parent, column in sources]
                for name, sources in column_lineage(model, ground.catalog.tables).items()
            }
            return written, {"preview": shown, "dagster/column_lineage": dg.TableColumnLineage(lineage)}

        yield from report(key, contract, write, ground.listener)

    return build


def shop_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.shop`: the source's description as a table."""
    contract = ground.catalog.contract("silver.shop")
    return _python_table(
        ground, contract, [], lambda con: fill_shop(con, contract, ground.source), ground.source.file.path
    )


def accounting_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.row_accounting`: where every landed row is."""
    contract = ground.catalog.contract("silver.row_accounting")
    deps = [asset_key(f"silver.{entity}") for entity, mappings in ground.compiled.items() if mappings]
    deps += [dg.AssetKey(["bronze", ground.source.bronze_table(raw)]) for raw in ground.source.file.tables]
    return _python_table(
        ground, contract, deps, lambda con: account_rows(con, contract, ground.source, ground.compiled)
    )


def _python_table(
    ground: Ground, contract: Contract, deps: Sequence[dg.AssetKey], fill: Any, *files: Any
) -> dg.AssetsDefinition:
    key = asset_key(contract.table)

    @dg.asset(
        key=key,
        deps=deps,
        description=describe(contract),
        metadata={
            "dagster/column_schema": column_schema(contract.all_columns),
            "dagster/table_name": contract.table,
            **code_references(contract.path, *files),
        },
        check_specs=check_specs(contract, key),
        **_labels(contract),
    )
    def build(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
        def write() -> tuple[Written, dict[str, Any]]:
            with warehouse.get_connection(context.log) as con:
                return fill(con), {"preview": preview(con, contract)}

        yield from report(key, contract, write, ground.listener)

    return build


def _deps(model: SqlModel, catalog: Catalog) -> list[dg.AssetKey]:
    """What a SELECT reads, as assets; whoever reads a ledger waits for the accounting, which comes after all loads."""
    keys = {asset_key("silver.row_accounting" if name in LEDGERS else name): None for name in model.reads}
    if model.contract.layer != "silver":
        # The foreign-key check reads the parents while the table is written, so they come first.
        parents = (c.references.rpartition(".")[0] for c in model.contract.columns.values() if c.references)
        keys.update({asset_key(parent): None for parent in parents if parent != model.contract.table})
    return list(keys)


def _labels(contract: Contract) -> dict[str, Any]:
    tags = {**contract.tags, **({"subject": contract.subject} if contract.subject else {})}
    kinds = set(contract.kinds) or {"duckdb", "python" if contract.filled_by or contract.history_of else "sql"}
    return {"group_name": contract.layer, "owners": list(contract.owners), "tags": tags, "kinds": kinds}
