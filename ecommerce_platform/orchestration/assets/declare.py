"""What every asset of the platform has in common: how a contract shows in the UI and how a write is reported.

Thin on purpose: it turns contracts, `Written` and check results into Dagster's types. What is written, and how,
is decided in warehouse, ingestion and ml.
"""

import time
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import PassingError, understood
from ecommerce_platform.orchestration.bookkeeping import materialize_days, verdicts_stand
from ecommerce_platform.orchestration.freshness import freshness_policy
from ecommerce_platform.orchestration.partitions import FULL_CHECKS, FULL_TRAINING, ONLY_PENDING, WHEN_DUE
from ecommerce_platform.orchestration.project import Project, StepListener
from ecommerce_platform.orchestration.resources import WarehouseResource
from ecommerce_platform.warehouse.contract_checks import BLOCKS, SHOWN, BlockedError, CheckResult, check_names
from ecommerce_platform.warehouse.load_checks import Check, LoadCheck
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Rows shown as a preview of a table.
PREVIEW_ROWS = 5
#: Longest text shown in a preview's cell.
_CELL = 60


def asset_key(table: str) -> dg.AssetKey:
    """`schema.table` → the asset's key."""
    return dg.AssetKey(table.split("."))


def column_schema(columns: Mapping[str, Column]) -> dg.TableSchema:
    """A contract's columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                type=column.type,
                description=column.description + (f" Unit: {column.unit}." if column.unit else ""),
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required,
                    other=[f"one of {', '.join(column.accepted)}"] if column.accepted else [],
                ),
                tags={"pii": ""} if column.pii else {},
            )
            for name, column in columns.items()
        ]
    )


def code_references(*paths: Path) -> dict[str, Any]:
    """Links from the asset to its files."""
    with warnings.catch_warnings():
        # Code references are the one beta API in use: without them the UI cannot lead to a table's two files.
        warnings.simplefilter("ignore", dg.BetaWarning)
        references = [dg.LocalFileCodeReference(file_path=str(path), line_number=1, label=path.name) for path in paths]
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=list(references))}


def describe(contract: Contract, sql: str | None = None, note: str | None = None) -> str:
    """The asset's description: meaning, grain, and the SELECT itself."""
    parts = [contract.description, f"**Grain:** {contract.grain}."]
    if note:
        parts.append(note)
    if sql:
        parts.append(f"```sql\n{sql.strip()}\n```")
    return "\n\n".join(parts)


def check_specs(contract: Contract, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The contract's checks as the UI lists them.

    Those that block roll the write back and fail the step, so what comes after never runs. They are not `blocking=`
    for Dagster: it would warn, on each load that changes nothing, that a check was not evaluated.
    """
    return [
        dg.AssetCheckSpec(name, asset=key, description=description + (BLOCKS if severity == "block" else ""))
        for name, severity, description in check_names(contract)
    ]


def check_result(result: CheckResult, key: dg.AssetKey) -> dg.AssetCheckResult:
    """One check's outcome with its rules, counts and examples."""
    lines = ["| rule | failing rows | examples |", "| --- | ---: | --- |"]
    lines += [f"| {r.name} | {r.failing:,} | {'; '.join(r.examples)} |" for r in result.rules]
    metadata: dict[str, Any] = {"failing_rows": result.failing, "rules": dg.MetadataValue.md("\n".join(lines))}
    if shown := [", ".join(r.examples) for r in result.rules if r.failing and r.examples]:
        metadata[SHOWN] = dg.MetadataValue.json(shown)
    if result.rows is not None:
        metadata["rows_checked"] = result.rows
    return dg.AssetCheckResult(
        passed=result.passed,
        check_name=result.name,
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if result.severity == "block" else dg.AssetCheckSeverity.WARN,
        description=result.explain() or None,
        metadata=metadata,
    )


def load_check_specs(checks: Sequence[Check], key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks on what loads bring, as the UI lists them."""
    return [dg.AssetCheckSpec(check.name, asset=key, description=check.meaning) for check in checks]


def load_check_result(found: LoadCheck, key: dg.AssetKey) -> dg.AssetCheckResult:
    """The outcome of one of them."""
    metadata: dict[str, Any] = dict(found.numbers)
    if found.columns:
        metadata[found.title] = dg.MetadataValue.md(markdown_table(found.columns, found.rows))
    return dg.AssetCheckResult(
        passed=found.passed,
        check_name=found.name,
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if found.severity == "block" else dg.AssetCheckSeverity.WARN,
        description=found.explain(),
        metadata=metadata,
    )


@contextmanager
def as_failure() -> Iterator[None]:
    """Turns an error the user can put right into a step failure with its text and no traceback to wade through.

    It would fail again, so it is not tried again, unless what stood in the way may pass.
    """
    try:
        yield
    except Exception as error:
        known = understood(error)
        if known is None:
            raise
        raise dg.Failure(description=str(known), allow_retries=isinstance(known, PassingError)) from None


@dataclass(frozen=True)
class Step:
    """What an asset's function gets to work with: connections, a log, and what the run asks for."""

    context: dg.AssetExecutionContext
    warehouse: WarehouseResource
    partitioned: bool

    @property
    def log(self) -> Any:
        """Dagster's logger of the step."""
        return self.context.log

    def connect(self) -> AbstractContextManager["DuckDBPyConnection"]:
        """A connection to the warehouse, to be held only while SQL runs."""
        return self.warehouse.get_connection(self.context.log)

    @cached_property
    def days(self) -> tuple[date, ...]:
        """Loads that the run covers, in order; none if the asset has no partitions."""
        if not self.partitioned:
            return ()
        return tuple(date.fromisoformat(key) for key in self.context.partition_keys)

    @property
    def again(self) -> tuple[date, ...]:
        """Loads to take over even if nothing about them has changed: who asks for a day gets it."""
        return () if self.context.run.tags.get(ONLY_PENDING) == "true" else self.days

    @property
    def full_checks(self) -> bool:
        """Whether whole tables are checked, not only what is written."""
        return self.context.run.tags.get(FULL_CHECKS) == "true"

    @property
    def full_training(self) -> bool:
        """Whether models are trained with the whole tournament of methods rather than the quick one."""
        return self.context.run.tags.get(FULL_TRAINING) == "true"

    @property
    def when_due(self) -> bool:
        """Whether what has a cadence of its own is left alone until it is due."""
        return self.context.run.tags.get(WHEN_DUE) == "true"


@dataclass(frozen=True)
class Outcome:
    """What an asset's function did: the write, what to show about it, and about single loads."""

    written: Written
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Load day → numbers shown with that partition.
    per_day: Mapping[date, Mapping[str, Any]] = field(default_factory=dict)
    checks: Sequence[dg.AssetCheckResult] = ()


#: What each asset does, for as long as there is the asset.
_WORKS: weakref.WeakKeyDictionary[dg.AssetsDefinition, Callable[[Step], Outcome]] = weakref.WeakKeyDictionary()


def work_of(asset: dg.AssetsDefinition) -> Callable[[Step], Outcome]:
    """What the asset of a table does, for those who have a step without a run (tests of thousands of loads)."""
    return _WORKS[asset]


def table_asset(
    key: dg.AssetKey,
    work: Callable[[Step], Outcome],
    *,
    checks: Sequence[dg.AssetCheckSpec],
    partitions: dg.PartitionsDefinition[str] | None = None,
    listener: StepListener | None = None,
    retry: dg.RetryPolicy | None = None,
    **spec: Any,
) -> dg.AssetsDefinition:
    """The asset of one table.

    Args:
        key: the asset's key.
        work: does it; a `PlatformError` becomes a step failure with its text.
        checks: the checks that may be reported; one whose rows did not change is not evaluated again.
        partitions: a partition is a day's load. A run over several days is one step, and one transaction.
        listener: told when the step starts, ends or fails.
        retry: for steps that depend on something outside.
        spec: the rest of `dg.AssetSpec`.
    """
    own = {spec.name for spec in checks}
    with warnings.catch_warnings():
        # `backfill_policy` is beta; without it a backfill of a year would be a process per day and table.
        warnings.simplefilter("ignore", dg.BetaWarning)

        # can_subset: checks need not all be evaluated in each run.
        @dg.multi_asset(
            name="__".join(key.path),
            specs=[dg.AssetSpec(key, partitions_def=partitions, **spec)],
            check_specs=checks,
            can_subset=True,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
            retry_policy=retry,
        )
        def run(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Iterator[Any]:
            yield from _report(key, work, Step(context, warehouse, partitions is not None), listener, own)

    _WORKS[run] = work
    return run


def contract_asset(
    project: Project,
    contract: Contract,
    work: Callable[[Step], Outcome],
    *,
    deps: Sequence[dg.AssetKey],
    description: str,
    files: Sequence[Path | None] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
    code_version: str | None = None,
) -> dg.AssetsDefinition:
    """The asset of a table that a contract describes: its checks, partitions, owners and columns follow from there.

    Args:
        project: what everything is declared from.
        contract: the table's contract.
        work: fills it.
        deps: what it is made from.
        description: what people read, as `describe` gives it.
        files: that say something about it, besides the contract.
        checks: besides those of the contract.
        code_version: of all that decides its rows besides the data.
    """
    key = asset_key(contract.table)
    return table_asset(
        key,
        work,
        checks=[*check_specs(contract, key), *checks],
        partitions=project.partitions_of(contract),
        listener=project.listener,
        deps=deps,
        description=description,
        code_version=code_version,
        metadata=table_metadata(contract, *files),
        **labels(project, contract),
    )


def _report(
    key: dg.AssetKey, work: Callable[[Step], Outcome], step: Step, listener: StepListener | None, own: Collection[str]
) -> Iterator[Any]:
    """Runs a step and yields what Dagster should record: checks always, a materialization only if it committed."""
    started = time.perf_counter()
    if listener:
        listener(key, "start")
    try:
        with as_failure():
            try:
                outcome = work(step)
            except BlockedError as error:
                # Recorded before the failure: the UI shows which check stopped the write, and no materialization.
                for result in error.results:
                    yield check_result(result, key)
                raise
    except BaseException:
        if listener:
            listener(key, "failed")
        raise
    yield from _record(key, outcome, step, round(time.perf_counter() - started, 3))
    verdicts_stand(step.context, key, own if outcome.written.changed else None)
    if listener:
        listener(key, "done")


def _record(key: dg.AssetKey, outcome: Outcome, step: Step, seconds: float) -> Iterator[Any]:
    """The materialization of what a step has committed, of each of its days, with the checks' results."""
    written = outcome.written
    metadata = {
        "dagster/row_count": written.rows,
        "rows_inserted": written.inserted,
        "rows_updated": written.updated,
        "rows_deleted": written.deleted,
        "changed": written.changed,
        "seconds": seconds,
        **outcome.metadata,
    }
    results = [*(check_result(result, key) for result in written.checks), *outcome.checks]
    days = [day.isoformat() for day in step.days]
    numbers = {day.isoformat(): of_day for day, of_day in outcome.per_day.items()}
    if len(days) > 1:
        yield from results
        yield from materialize_days(step.context, key, days, numbers, {**metadata, "days_in_one_run": len(days)})
    else:
        metadata |= numbers.get(days[0], {}) if days else {}
        yield dg.MaterializeResult(asset_key=key, metadata=metadata, check_results=results)


def preview(con: "DuckDBPyConnection", contract: Contract) -> dg.MarkdownMetadataValue:
    """The first rows as a table; personal data is masked, because metadata is kept and read by many."""
    names = list(contract.columns)
    shown = ", ".join(
        f"case when {quote(n)} is not null then '•••' end" if c.pii else f"left(cast({quote(n)} as varchar), {_CELL})"
        for n, c in contract.columns.items()
    )
    rows = con.execute(f"select {shown} from {contract.layer}.{quote(contract.name)} limit {PREVIEW_ROWS}").fetchall()
    return dg.MetadataValue.md(markdown_table(names, rows))


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as a Markdown table; characters that would break it are escaped."""

    def cell(value: Any) -> str:
        return "" if value is None else str(value).replace("|", "\\|").replace("\r", " ").replace("\n", " ")

    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(cell(v) for v in row)} |" for row in rows]
    return "\n".join(lines)


def bronze_key(project: Project, raw_table: str) -> dg.AssetKey:
    """The key of a raw table's asset."""
    return dg.AssetKey(["bronze", project.source.bronze_table(raw_table)])


def table_metadata(contract: Contract, *files: Any) -> dict[str, Any]:
    """A table's columns, name and the files that say what is in it."""
    return {
        "dagster/column_schema": column_schema(contract.all_columns),
        "dagster/table_name": contract.table,
        **code_references(contract.path, *files),
    }


def on_spark(project: Project, contract: Contract) -> bool:
    """Whether Spark works a table out: the SELECTs of gold, where that engine is set."""
    if project.settings.engine != "spark" or contract.layer != "gold":
        return False
    return not contract.filled_by and not contract.not_on_spark


def labels(project: Project, contract: Contract) -> dict[str, Any]:
    """Group, owners, tags, kinds and freshness of a table's asset."""
    tags = {**contract.tags, **({"subject": contract.subject} if contract.subject else {})}
    engine = "spark" if on_spark(project, contract) else "duckdb"
    kinds = set(contract.kinds) or {engine, "python" if contract.filled_by or contract.history_of else "sql"}
    # A kind is what the graph shows of a table at first sight, a tag what it can be filtered by.
    if contract.table in project.empty:
        tags["filled"] = "no"
        kinds = {"empty", *sorted(kinds)[:2]}
    return {
        "group_name": "_".join(filter(None, (contract.layer, contract.subject))),
        "owners": list(contract.owners),
        "tags": tags,
        "kinds": kinds,
        "freshness_policy": freshness_policy(contract),
    }


def lineage(project: Project, contract: Contract) -> dict[str, Any]:
    """The column lineage of a table as Dagster's metadata."""
    deps = {
        name: [dg.TableColumnDep(asset_key=asset_key(table), column_name=column) for table, column in origins]
        for name, origins in project.lineage.of(contract.table).items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}
