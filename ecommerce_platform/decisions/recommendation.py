"""What every decision leaves behind: the rows of its table, and in `ml.decisions` what it comes to or why there is none.

A decision is made anew only when what it reads, its contract, the figures in source.yml or its code have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.warehouse.changes import made_within, own_code, record_change, unseen
from ecommerce_platform.warehouse.frames import handed_in, typed
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.write import Written, as_it_was, ensure_table, replace_table, upsert_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows = Sequence[Mapping[str, Any]]
#: How long a decision stands in builds that do not ask for it.
CADENCE = timedelta(days=7)


@dataclass(frozen=True)
class Decided:
    """What a decision comes to.

    `made`: there are recommendations. `abstained`: the data were there, but show nothing that is surer than chance. `refused`:
    something is missing, which `reason` names.
    """

    status: Literal["made", "abstained", "refused"]
    reason: str
    rows: Rows = ()
    assumptions: str = ""
    #: Expected worth of following all of it, and its interval; None where that has no meaning.
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    #: Which rows it was made from, each `table` or `table where condition`; by default all of the tables that it may read.
    made_from: Sequence[str] = field(default=())
    #: Rows of tables that are written beside the decision's own, whole.
    beside: Mapping[str, Rows] = field(default_factory=dict)


def refused(missing: Iterable[str]) -> Decided:
    """A decision that lacks something; `missing` names each thing and where it is said."""
    return Decided("refused", "; ".join(missing))


def refresh_decision(
    con: DuckDBPyConnection,
    contract: Contract,
    ledger: Contract,
    decide: Callable[[DuckDBPyConnection], Decided],
    reads: Sequence[str],
    code: Sequence[str],
    rules: object,
    *,
    beside: Sequence[Contract] = (),
    full_checks: bool = False,
    when_due: bool = False,
) -> Written:
    """Makes a decision's table and its row of `ml.decisions` anew, in one transaction, if anything that they follow from changed.

    Args:
        con: a connection to the warehouse.
        contract: the decision's table.
        ledger: `ml.decisions`.
        decide: works it out.
        reads: tables that it reads, all there.
        code: source files whose text decides it.
        rules: the figures of source.yml that it uses.
        beside: contracts of the tables that are written with it; whole, empty ones too.
        full_checks: makes it anew in any case.
        when_due: leaves it alone for a week after it was made with this definition.

    Raises:
        BlockedError: a blocking check failed; both stay as they were.
    """
    parts = [own_code(path) for path in code]
    version = sha256("\n".join((*parts, contract.text, ledger.text, repr(rules))).encode()).hexdigest()[:16]
    now, behind = unseen(con, contract.table, reads, version)
    settled = behind == {} or (when_due and made_within(con, contract.table, version, CADENCE))
    if settled and not full_checks and table_exists(con, *contract.table.split(".", 1)):
        return as_it_was(con, contract)
    found = decide(con)
    given = {
        "_decided": frame(contract, found.rows),
        "_ledger": frame(ledger, [_entry(contract, found, reads)]),
        **{f"_{table.name}": frame(table, found.beside.get(table.table, ())) for table in beside},
    }
    with handed_in(con, **given):
        return replace_table(
            con, contract, typed(contract, "_decided"), code_version=version, reads=reads, seen=now,
            also_write=lambda: _also(con, ledger, beside),
        )  # fmt: skip


def frame(contract: Contract, rows: Rows) -> Any:
    """Rows as a polars frame with the contract's columns; what a row lacks, and what is no number, is null."""
    import polars as pl

    types: dict[str, Any] = {
        "VARCHAR": pl.String, "DATE": pl.Date, "TIMESTAMP": pl.Datetime("us"), "DOUBLE": pl.Float64,
        "INTEGER": pl.Int64, "BIGINT": pl.Int64, "BOOLEAN": pl.Boolean,
    }  # fmt: skip
    schema = {name: types.get(column.type, pl.Float64) for name, column in contract.columns.items()}
    unknown = {name for row in rows for name in row} - schema.keys()
    if unknown:
        raise ValueError(f"{contract.table} has no columns {', '.join(sorted(unknown))}")
    columns = {name: [row.get(name) for row in rows] for name in schema}
    made = pl.DataFrame(
        {name: pl.Series(name, values, dtype=schema[name], strict=False) for name, values in columns.items()}
    )
    numbers = [name for name, kind in schema.items() if kind == pl.Float64]
    return made.with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in numbers)


def _entry(contract: Contract, found: Decided, reads: Sequence[str]) -> dict[str, Any]:
    return {
        "decision": contract.name, "status": found.status, "reason": found.reason, "rows": len(found.rows),
        "assumptions": found.assumptions or None, "expected_value": found.value, "value_low": found.low,
        "value_high": found.high, "value_unit": found.unit, "made_from": "; ".join(found.made_from or reads),
    }  # fmt: skip


def _also(con: DuckDBPyConnection, ledger: Contract, beside: Sequence[Contract]) -> None:
    """Writes what goes with a decision's table, within its transaction."""
    upsert_rows(con, ledger, typed(ledger, "_ledger"))
    for contract in beside:
        ensure_table(con, contract)
        con.execute(f"delete from {contract.table}")
        record_change(con, contract.table)  # also where there is nothing to write: who publishes goes by versions
        upsert_rows(con, contract, typed(contract, f"_{contract.name}"))
