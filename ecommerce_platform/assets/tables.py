"""Assets for bronze, silver and every table that is a SELECT: declarations only.

Each function takes what it declares (a raw table, an entity, a parsed SELECT) and returns one asset. Loading is
`ingestion`, mapping and writing are `warehouse`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.assets.declare import (
    Outcome,
    Step,
    StepListener,
    asset_key,
    check_specs,
    code_references,
    column_schema,
    describe,
    markdown_table,
    preview,
    table_asset,
)
from ecommerce_platform.automation.freshness import freshness_policy
from ecommerce_platform.automation.partitions import daily_partitions
from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import Source
from ecommerce_platform.forgetting.ledger import read_tombstones
from ecommerce_platform.forgetting.persons import returned
from ecommerce_platform.ingestion.landing import Drops
from ecommerce_platform.quality.suites import Suite, read_suites
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.accounting import account_rows
from ecommerce_platform.warehouse.changes import Log
from ecommerce_platform.warehouse.history import check_mappings, history_code_version, load_history
from ecommerce_platform.warehouse.identities import (
    CUSTOMERS,
    IDENTITIES,
    LINKS,
    Linking,
    add_logs,
    current_linking,
    record_identity_changes,
    refresh_clusters,
    refresh_links,
)
from ecommerce_platform.warehouse.incremental import Beside, Incremental, compile_incremental, logs, refresh_table
from ecommerce_platform.warehouse.mapping import CompiledMapping
from ecommerce_platform.warehouse.silver import (
    EntityLoad,
    code_version,
    contradicting_loads,
    fill_brand_rules,
    fill_shop,
    load_entity,
    loads_set_aside,
    shrunk_deliveries,
)
from ecommerce_platform.warehouse.sql_model import SqlModel, column_lineage, parse_models
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ingestion.zone import Zone

#: How `bronze.files.problem` begins where something is worth knowing but no fault.
NOTE = "note:"
#: Bronze tables written beside others: read by SELECTs, but no assets of their own.
LEDGERS = (
    "bronze.files", "bronze.columns", "bronze.rejects", "silver.loads", "silver.rejects", "silver.identity_changes",
)  # fmt: skip
#: Steps that read files try again: a file may be in the middle of being copied, a share away for a moment.
RETRY = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)


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

    @cached_property
    def models(self) -> dict[str, SqlModel]:
        """Every table that is a SELECT, parsed, without those that would be meaningless with this source."""
        return parse_models(self.catalog, self.compiled)

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        """Every table's contract."""
        return {name: table.contract for name, table in self.catalog.tables.items()}

    @cached_property
    def incrementals(self) -> dict[str, Incremental]:
        """The SELECTs that work out again only what a load has touched."""
        return {
            name: compile_incremental(model, self.contracts)
            for name, model in self.models.items()
            if model.contract.write == "incremental"
        }

    @cached_property
    def logs(self) -> dict[str, Log]:
        """What is logged about the changed rows of each table that others follow."""
        return add_logs(logs(self.incrementals.values()))

    @cached_property
    def suites(self) -> dict[str, Suite]:
        """The business rules that can be asked of this source, by table."""
        tables = {name for name, table in self.catalog.tables.items() if table.sql is None or name in self.models}
        filled = [entity for entity, mappings in self.compiled.items() if mappings]
        return read_suites(self.catalog, tables, filled, self.settings.source_folder)

    @cached_property
    def partitions(self) -> dg.DailyPartitionsDefinition:
        """A partition is a day's load."""
        return daily_partitions(self.source)

    def partitions_of(self, contract: Contract) -> dg.DailyPartitionsDefinition | None:
        """The partitions of a table's asset; None for one that is made anew on a cadence of its own."""
        entity = contract.name if contract.entity else contract.history_of
        # What the source does not fill stays empty: no load ever reaches it.
        filled = bool(entity and self.compiled.get(entity))
        by_load = filled or contract.write == "incremental" or contract.per_load
        return self.partitions if by_load else None

    @cached_property
    def zone(self) -> "Zone":
        """The landing zone."""
        from ecommerce_platform.ingestion.zone import open_zone

        return open_zone(self.settings)

    def drops(self, listing: str) -> Drops:
        """The drops there are, listed once per run (and try): with years of days that takes a tenth of a second."""
        if listing not in self.listing:
            self.listing.clear()
            self.listing[listing] = self.zone.drops(self.source)
        return self.listing[listing]


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

    schema = dg.AssetCheckSpec(
        "schema",
        asset=key,
        description="The loads bring the same columns, with the same kind of text in them, as the load before each. What "
        "becomes of a file with others, source.yml says: `on_drift` accepts it, leaves it out, or fails the load.",
    )

    once = dg.AssetCheckSpec(
        "delivered_once",
        asset=key,
        description="No record stands twice in a file, column for column. Loaded they are both; in silver one counts.",
    )
    news = dg.AssetCheckSpec(
        "not_delivered_before",
        asset=key,
        description="No file holds the records of an earlier one; of full deliveries, none goes back behind the one before.",
    )

    def work(step: Step) -> Outcome:
        from ecommerce_platform.ingestion.bronze import load_pending, repeated_files, repeated_records
        from ecommerce_platform.ingestion.schema import drift

        # Tried again, it looks again: the listing may be what went out of date.
        listing = f"{step.context.run.run_id}/{step.context.retry_number}"
        days, loaded = load_pending(
            step.connect, ground.zone, ground.drops(listing), source, raw_table, step.days, step.again,
            expected=expected, required=required, scratch=ground.settings.scratch, log=step.log.info,
        )  # fmt: skip
        with step.connect() as con:
            row = con.execute(f'select count(*) from bronze."{name}"').fetchone()
            drifted = drift(con, raw_table, days, optional=any(f.format in ("json", "jsonl") for f in loaded.files))
            problems = con.execute(
                "select _load_date, _source_file, problem from bronze.files "
                "where raw_table = ? and problem is not null order by all",
                [raw_table],
            ).fetchall()
            repeated = repeated_records(con, raw_table) if days else []
            copies = repeated_files(con, raw_table, raw) if days else []
        for file, problem in loaded.problems:
            step.log.error(f"{raw_table}: {file}: {problem}")
        metadata: dict[str, Any] = {
            "loads": len(days),
            "rows_rejected": loaded.rows_rejected,
            "columns_added": ", ".join(loaded.columns_added) or None,
        }
        return Outcome(
            Written(int(row[0]) if row else 0, loaded.rows_inserted, 0, loaded.rows_deleted, (), changed=bool(days)),
            {k: v for k, v in metadata.items() if v is not None},
            {
                day: {"rows_landed": rows + rejected, "rows_loaded": rows, "rows_rejected": rejected}
                for day, (rows, rejected) in loaded.rows_per_day.items()
            },
            [_readable(key, problems), _same_schema(key, drifted), _once(key, repeated), _news(key, copies)]
            if days
            else [],
        )

    return table_asset(
        key,
        work,
        checks=[readable, schema, once, news],
        partitions=ground.partitions,
        listener=ground.listener,
        retry=RETRY,
        group_name="bronze",
        description=f"{raw.description}\n\nAs delivered, all columns text, with provenance. "
        f"Files: {', '.join(f'`{f}`' for f in raw.files)}; delivery: {raw.delivery}.",
        kinds={"duckdb", "file"},
        owners=["team:data"],
        tags={"source": source.name, "delivery": raw.delivery},
        metadata={"dagster/table_name": f"bronze.{name}", **code_references(source.file.path)},
    )


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


def _same_schema(key: dg.AssetKey, drifted: Mapping[date, Sequence[Any]]) -> dg.AssetCheckResult:
    rows = [(str(day), d.what, str(d)) for day, found in sorted(drifted.items(), reverse=True) for d in found]
    return dg.AssetCheckResult(
        passed=not rows,
        check_name="schema",
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{day}: {text}" for day, _, text in rows[:5]) or None,
        metadata={
            "loads_that_differ": len(drifted),
            "differences": dg.MetadataValue.md(markdown_table(["load", "kind", "difference"], rows[:50])),
        },
    )


def _once(key: dg.AssetKey, repeated: Sequence[tuple[date, str, int]]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not repeated,
        check_name="delivered_once",
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(
            f"{day}/{file}: {rows:,} {'record' if rows == 1 else 'records'} a second time"
            for day, file, rows in repeated[-3:]
        )
        or None,
        metadata={
            "rows": sum(rows for *_, rows in repeated),
            "files": dg.MetadataValue.md(markdown_table(["load", "file", "records a second time"], repeated[-50:])),
        },
    )


def _news(key: dg.AssetKey, copies: Sequence[tuple[date, str, date, str]]) -> dg.AssetCheckResult:
    said = [f"{day}/{file} holds the records of {earlier}/{name}" for day, file, earlier, name in copies]
    return dg.AssetCheckResult(
        passed=not copies,
        check_name="not_delivered_before",
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(said[-3:]) or None,
        metadata={
            "files": len(copies),
            "copies": dg.MetadataValue.md(markdown_table(["load", "file", "the same as of", "file"], copies[-50:])),
        },
    )


def entity_asset(ground: Ground, contract: Contract) -> dg.AssetsDefinition:
    """The asset that fills a canonical entity from the bronze tables mapped to it."""
    mappings = ground.compiled[contract.name]
    key = asset_key(contract.table)
    sql = "\n\n".join(f"-- {m.mapping.path.name}\n{m.mapping.sql.strip()}" for m in mappings)
    usable = dg.AssetCheckSpec(
        "deliveries_usable",
        asset=key,
        description="Every full delivery had at least one usable row; one that had none leaves the previous in force.",
    )
    full = any(m.delivery == "full" for m in mappings)
    whole = dg.AssetCheckSpec(
        "deliveries_whole",
        asset=key,
        description="The full delivery in force has at least half of the rows of the one before it: what it lacks is gone.",
    )
    one_version = dg.AssetCheckSpec(
        "one_version_per_load",
        asset=key,
        description="No load delivers more than two in a hundred keys (and two) twice with different values. Of the versions, "
        "the last by file and record counts.",
    )
    within_limits = dg.AssetCheckSpec(
        "rejects_within_limits",
        asset=key,
        description="No load had more of its rows rejected than its raw table's max_rejected_share. One that had is set "
        "aside: none of its rows is used, all stand in silver.rejects, and the versions before stay in force.",
    )

    nobody_back = dg.AssetCheckSpec(
        "no_forgotten_person_returns",
        asset=key,
        description="No system of the shop delivers personal data of somebody who was forgotten (docs/personal-data.md).",
    )
    customers = contract.table == CUSTOMERS

    def work(step: Step) -> Outcome:
        with step.connect() as con:
            loaded = load_entity(
                con, ground.catalog, contract, mappings,
                again=step.again, log=ground.logs.get(contract.table), full_checks=step.full_checks,
            )  # fmt: skip
            shown = preview(con, contract)
            aside = loads_set_aside(con, contract.name)
            back = returned(con, contract, read_tombstones(ground.settings.data)) if customers else []
            shrunk = shrunk_deliveries(con, contract.name, [m.raw_table for m in mappings if m.delivery == "full"])
            versions = contradicting_loads(con, contract.name)
        for problem in (*loaded.problems, *aside):
            step.log.error(problem)
        lineage = {
            name: [dg.TableColumnDep(asset_key=_bronze_key(ground, raw), column_name=c) for raw, c in sources]
            for name, sources in _mapping_lineage(mappings).items()
        }
        return Outcome(
            _written(loaded),
            {
                "loads": len(loaded.loads),
                "rows_rejected": loaded.rejected,
                "preview": shown,
                "dagster/column_lineage": dg.TableColumnLineage(lineage),
            },
            _per_day(loaded),
            [
                *([_no_problems(key, usable.name, loaded.problems)] if full and loaded.loads else []),
                *([_no_problems(key, whole.name, shrunk, warn=True)] if full and loaded.loads else []),
                *([_no_problems(key, within_limits.name, aside)] if loaded.loads else []),
                *([_nobody_back(key, nobody_back.name, back)] if customers else []),
                *([_no_problems(key, one_version.name, versions, warn=True)] if loaded.loads else []),
            ],
        )

    return table_asset(
        key,
        work,
        checks=[
            *check_specs(contract, key),
            *([usable, whole] if full else []),
            *([within_limits, one_version] if mappings else []),
            *([nobody_back] if customers else []),
        ],
        partitions=ground.partitions_of(contract),
        listener=ground.listener,
        deps=[_bronze_key(ground, m.raw_table) for m in mappings],
        description=describe(contract, sql or None, None if mappings else "This source does not fill it: it is empty."),
        code_version=code_version(contract, mappings),
        metadata=_metadata(contract, *(m.mapping.path for m in mappings)),
        **_labels(contract),
    )


def _nobody_back(key: dg.AssetKey, name: str, back: Sequence[str]) -> dg.AssetCheckResult:
    shown = ", ".join(back[:5]) + (" …" if len(back) > 5 else "")
    return dg.AssetCheckResult(
        passed=not back,
        check_name=name,
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(back):,} customer records of forgotten persons were delivered again with personal data ({shown}): "
        f"have them deleted in the system that delivers them, then run `ecommerce forget {back[0]}` again"
        if back
        else None,
        metadata={"records": len(back)},
    )


def _written(loaded: EntityLoad) -> Written:
    return Written(
        loaded.rows, loaded.inserted, loaded.updated, loaded.deleted, loaded.checks,
        changed=bool(loaded.inserted or loaded.updated or loaded.deleted),
    )  # fmt: skip


def _per_day(loaded: EntityLoad) -> dict[date, dict[str, int]]:
    """Counts by load day, summed over the raw tables of an entity."""
    days: dict[date, dict[str, int]] = {}
    for (_, day), count in loaded.loads.items():
        numbers = days.setdefault(
            day, dict.fromkeys(("rows_landed", "rows_loaded", "rows_rejected", "rows_changed"), 0)
        )
        numbers["rows_landed"] += count.landed
        numbers["rows_loaded"] += count.accepted
        numbers["rows_rejected"] += count.rejected
        numbers["rows_changed"] += count.changed
    return days


def history_asset(ground: Ground, contract: Contract) -> dg.AssetsDefinition:
    """The asset that keeps an entity's versions; it follows the entity and reads the same bronze tables.

    Raises:
        DefinitionError: one of the entity's mappings gives rows that have no versions.
    """
    entity = ground.catalog.contract(f"silver.{contract.history_of}")
    mappings = ground.compiled[entity.name]
    check_mappings(contract, mappings)
    key = asset_key(contract.table)
    bronze = {m.raw_table: _bronze_key(ground, m.raw_table) for m in mappings}

    def work(step: Step) -> Outcome:
        with step.connect() as con:
            loaded = load_history(
                con, ground.catalog, contract, mappings, again=step.again, full_checks=step.full_checks
            )
            shown = preview(con, contract)
        lineage = {
            name: [dg.TableColumnDep(asset_key=bronze[raw], column_name=c) for raw, c in sources]
            for name, sources in _mapping_lineage(mappings).items()
        }
        return Outcome(
            _written(loaded),
            {"loads": len(loaded.loads), "preview": shown, "dagster/column_lineage": dg.TableColumnLineage(lineage)},
        )

    return table_asset(
        key,
        work,
        checks=check_specs(contract, key),
        partitions=ground.partitions_of(contract),
        listener=ground.listener,
        deps=[asset_key(entity.table), *bronze.values()],
        description=describe(contract, None, None if mappings else "This source does not fill it: it is empty."),
        code_version=history_code_version(contract, entity, mappings),
        metadata=_metadata(contract, *(m.mapping.path for m in mappings)),
        **_labels(contract),
    )


def _no_problems(key: dg.AssetKey, check: str, problems: Sequence[str], *, warn: bool = False) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not problems,
        check_name=check,
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
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
    beside: Beside | None = None
    if contract.table == IDENTITIES:
        trail = ground.catalog.contract("silver.identity_changes")

        def beside(con: "DuckDBPyConnection", scope: str | None) -> None:
            record_identity_changes(con, trail, scope)

    def work(step: Step) -> Outcome:
        with step.connect() as con:
            written = refresh_table(
                con, model, ground.incrementals.get(contract.table),
                log=ground.logs.get(contract.table), full_checks=step.full_checks, beside=beside,
            )  # fmt: skip
            shown = preview(con, contract)
        lineage = {
            name: [dg.TableColumnDep(asset_key=asset_key(parent), column_name=column) for parent, column in sources]
            for name, sources in column_lineage(model, ground.catalog.tables).items()
        }
        return Outcome(written, {"preview": shown, "dagster/column_lineage": dg.TableColumnLineage(lineage)})

    return table_asset(
        key,
        work,
        checks=check_specs(contract, key),
        partitions=ground.partitions_of(contract),
        listener=ground.listener,
        deps=_deps(model, ground.catalog),
        description=describe(contract, table.sql),
        code_version=model.code_version,
        metadata=_metadata(contract, table.sql_path),
        **_labels(contract),
    )


def shop_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.shop`: the source's description as a table."""
    contract = ground.catalog.contract("silver.shop")
    return _python_table(
        ground, contract, [], lambda con: fill_shop(con, contract, ground.source), ground.source.file.path
    )


def brand_rules_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.brand_rules`: how the source recognises brands, as a table."""
    contract = ground.catalog.contract("silver.brand_rules")
    return _python_table(
        ground, contract, [], lambda con: fill_brand_rules(con, contract, ground.source), ground.source.file.path
    )


def accounting_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.row_accounting`: where every landed row is."""
    contract = ground.catalog.contract("silver.row_accounting")
    deps = [asset_key(f"silver.{entity}") for entity, mappings in ground.compiled.items() if mappings]
    deps += [_bronze_key(ground, raw) for raw in ground.source.file.tables]
    return _python_table(
        ground, contract, deps, lambda con: account_rows(con, contract, ground.source, ground.compiled)
    )


def links_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.customer_links`: pairs of records that are one person's."""
    contract, registry = ground.catalog.contract(LINKS), ground.catalog.contract("ml.models")
    rules = ground.source.file.identity

    def work(step: Step) -> Outcome:
        linking: Linking | None = None
        if rules.link:
            with step.connect() as con:
                linking = current_linking(con, registry, ground.settings.models, rules.threshold)
        written = refresh_links(
            step.connect, contract, linking, step.warehouse.connection_config,
            log=ground.logs.get(LINKS), full_checks=step.full_checks,
        )  # fmt: skip
        with step.connect() as con:
            shown = preview(con, contract)
        return Outcome(written, {"preview": shown, "parameters": linking.parameters.version if linking else "none"})

    return filled_asset(ground, contract, work, [CUSTOMERS])


def clusters_asset(ground: Ground) -> dg.AssetsDefinition:
    """`silver.customer_clusters`: the persons that linked records make."""
    contract = ground.catalog.contract("silver.customer_clusters")

    def work(step: Step) -> Outcome:
        with step.connect() as con:
            written = refresh_clusters(
                con, contract, link=ground.source.file.identity.link,
                log=ground.logs.get(contract.table), full_checks=step.full_checks,
            )  # fmt: skip
            return Outcome(written, {"preview": preview(con, contract)})

    return filled_asset(ground, contract, work, [CUSTOMERS, LINKS])


def _python_table(
    ground: Ground,
    contract: Contract,
    deps: Sequence[dg.AssetKey],
    fill: Callable[["DuckDBPyConnection"], Written],
    *files: Any,
) -> dg.AssetsDefinition:
    def work(step: Step) -> Outcome:
        with step.connect() as con:
            return Outcome(fill(con), {"preview": preview(con, contract)})

    return filled_asset(ground, contract, work, [".".join(key.path) for key in deps], *files)


def filled_asset(
    ground: Ground,
    contract: Contract,
    work: Callable[[Step], Outcome],
    deps: Sequence[str],
    *files: Any,
    note: str | None = None,
) -> dg.AssetsDefinition:
    """The asset of a table that Python fills.

    Args:
        ground: what everything is declared from.
        contract: of the table.
        work: fills it.
        deps: tables it is made from; assets that are no table by their key written like one.
        files: that say something about it, besides the contract.
        note: what there is to say besides the contract's description.
    """
    key = asset_key(contract.table)
    return table_asset(
        key,
        work,
        checks=check_specs(contract, key),
        partitions=ground.partitions_of(contract),
        listener=ground.listener,
        deps=[asset_key(table) for table in deps],
        description=describe(contract, note=note),
        metadata=_metadata(contract, *files),
        **_labels(contract),
    )


def _bronze_key(ground: Ground, raw_table: str) -> dg.AssetKey:
    return dg.AssetKey(["bronze", ground.source.bronze_table(raw_table)])


def _metadata(contract: Contract, *files: Any) -> dict[str, Any]:
    return {
        "dagster/column_schema": column_schema(contract.all_columns),
        "dagster/table_name": contract.table,
        **code_references(contract.path, *files),
    }


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
    return {
        "group_name": contract.layer,
        "owners": list(contract.owners),
        "tags": tags,
        "kinds": kinds,
        "freshness_policy": freshness_policy(contract),
    }
