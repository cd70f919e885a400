"""What every asset of the platform has in common: how a contract shows in the UI and how a write is reported.

Thin on purpose: it turns contracts, `Written` and check results into Dagster's types. What is written, and how,
is decided in warehouse, ingestion and ml.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.assets.resources import WarehouseResource
from ecommerce_platform.automation.partitions import FULL_CHECKS, ONLY_PENDING
from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import PassingError, understood
from ecommerce_platform.quality.contract_checks import SHOWN, BlockedError, CheckResult, check_names
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Rows shown as a preview of a table.
PREVIEW_ROWS = 5
#: Longest text shown in a preview's cell.
_CELL = 60

StepListener = Callable[[dg.AssetKey, str], None]


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
        dg.AssetCheckSpec(
            name, asset=key, description=description + (" Blocks the write." if severity == "block" else "")
        )
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


@dataclass(frozen=True)
class Outcome:
    """What an asset's function did: the write, what to show about it, and about single loads."""

    written: Written
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Load day → numbers shown with that partition.
    per_day: Mapping[date, Mapping[str, Any]] = field(default_factory=dict)
    checks: Sequence[dg.AssetCheckResult] = ()


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
            yield from _report(key, work, Step(context, warehouse, partitions is not None), listener)

    return run


def _report(
    key: dg.AssetKey, work: Callable[[Step], Outcome], step: Step, listener: StepListener | None
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
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
    written = outcome.written
    metadata = {
        "dagster/row_count": written.rows,
        "rows_inserted": written.inserted,
        "rows_updated": written.updated,
        "rows_deleted": written.deleted,
        "changed": written.changed,
        "seconds": round(time.perf_counter() - started, 3),
        **outcome.metadata,
    }
    if len(step.days) > 1:
        # Every day of the range gets an event of its own: what is said once for all of them stands with the last.
        step.context.add_asset_metadata(metadata, key, step.days[-1].isoformat())
        metadata = {"days_in_one_run": len(step.days)}
    covered = set(step.days)
    for day, numbers in outcome.per_day.items():
        if day in covered:
            step.context.add_asset_metadata(numbers, key, day.isoformat())
    results = [*(check_result(result, key) for result in written.checks), *outcome.checks]
    yield dg.MaterializeResult(asset_key=key, metadata=metadata, check_results=results)
    if listener:
        listener(key, "done")


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
