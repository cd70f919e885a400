"""What every asset of the platform has in common: how a contract shows in the UI and how a write is reported.

Thin on purpose: it turns contracts, `Written` and check results into Dagster's types. What is written, and how,
is decided in warehouse, ingestion and ml.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import PlatformError
from ecommerce_platform.quality.contract_checks import BlockedError, CheckResult, check_names
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
    """The contract's checks as the UI lists them; those that block stop what comes after."""
    return [
        dg.AssetCheckSpec(name, asset=key, blocking=severity == "block", description=description)
        for name, severity, description in check_names(contract)
    ]


def check_result(result: CheckResult, key: dg.AssetKey) -> dg.AssetCheckResult:
    """One check's outcome with its rules, counts and examples."""
    lines = ["| rule | failing rows | examples |", "| --- | ---: | --- |"]
    lines += [f"| {r.name} | {r.failing:,} | {'; '.join(r.examples)} |" for r in result.rules]
    metadata: dict[str, Any] = {"failing_rows": result.failing, "rules": dg.MetadataValue.md("\n".join(lines))}
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
    """Turns an error the user can put right into a step failure with its text and no traceback to wade through."""
    try:
        yield
    except PlatformError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def report(
    key: dg.AssetKey,
    contract: Contract,
    write: Callable[[], tuple[Written, dict[str, Any]]],
    listener: StepListener | None = None,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Runs a write and yields what Dagster should record: checks always, a materialization only if it committed."""
    started = time.perf_counter()
    if listener:
        listener(key, "start")
    try:
        with as_failure():
            try:
                written, metadata = write()
            except BlockedError as error:
                # Recorded before the failure: the UI shows which check stopped the write, and no materialization.
                for result in error.results:
                    yield check_result(result, key)
                raise
    except BaseException:
        if listener:
            listener(key, "failed")
        raise
    yield dg.MaterializeResult(
        asset_key=key,
        metadata={
            "dagster/row_count": written.rows,
            "rows_inserted": written.inserted,
            "rows_updated": written.updated,
            "rows_deleted": written.deleted,
            "seconds": round(time.perf_counter() - started, 3),
            **metadata,
        },
        check_results=[check_result(result, key) for result in written.checks],
    )
    if listener:
        listener(key, "done")


def preview(con: DuckDBPyConnection, contract: Contract) -> dg.MarkdownMetadataValue:
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
