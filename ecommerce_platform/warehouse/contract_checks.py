"""Checks that derive from contracts: one SQL pass per table, and the contract's own SELECTs.

They run on the writer's connection inside its transaction, so a table that fails a blocking check never exists
for anyone to read. Nothing here writes or knows Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.contract import PROVENANCE, Column, Contract, SqlCheck
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import CheckError
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Offending values shown per rule.
EXAMPLES = 5
#: Under which name the metadata of a check lists the values that its description shows.
SHOWN = "examples"
#: Ends the description of a check that blocks. The UI calls it non-blocking above that: the write stops, not Dagster.
BLOCKS = (
    " A row that breaks it rolls the whole write back and fails the step, so nothing reads it; Dagster itself need not "
    "block anything."
)
#: What had happened when it was delivered did so on this day at the earliest: before, there is no shop's data.
_FIRST = date(1990, 1, 1)


@dataclass(frozen=True)
class Rule:
    """One rule of a contract and what came of it."""

    name: str
    failing: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check: `contract`, `foreign_keys` or one of the contract's own."""

    name: str
    severity: Literal["block", "warn"]
    description: str
    rules: tuple[Rule, ...]
    rows: int | None = None

    @property
    def failing(self) -> int:
        """Rows that break a rule, summed over the rules."""
        return sum(rule.failing for rule in self.rules)

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return self.failing == 0

    def explain(self) -> str:
        """One line per broken rule, with counts and examples."""
        return "; ".join(
            f"{rule.name}: {rule.failing:,} rows" + (f", e.g. {', '.join(rule.examples)}" if rule.examples else "")
            for rule in self.rules
            if rule.failing
        )


def check_names(contract: Contract) -> list[tuple[str, Literal["block", "warn"], str]]:
    """Name, severity and description of every check that `check_table` will report."""
    names: list[tuple[str, Literal["block", "warn"], str]] = [
        ("contract", "block", "Columns and types, required values, unique key, accepted values and ranges.")
    ]
    if _references(contract):
        names.append(("foreign_keys", "warn", "Every reference finds its parent row."))
    names.extend((check.name, check.severity, check.description) for check in contract.checks)
    return names


def every_check(check: SqlCheck) -> bool:
    """Leaves out none of a contract's checks."""
    return True


def check_table(
    con: DuckDBPyConnection, contract: Contract, only: Callable[[SqlCheck], bool] = every_check
) -> list[CheckResult]:
    """Runs every check of the contract on its table, or of its SELECTs `only` some.

    Raises:
        CheckError: a blocking check failed. Its `results` hold all results, so that they can still be reported.
    """
    results = [_contract(con, contract)]
    if _references(contract):
        results.append(_foreign_keys(con, contract))
    results += [_sql_check(con, contract, check, check.sql) for check in contract.checks if only(check)]
    stop_if_blocked(contract.table, results)
    return results


def check_rows(
    con: DuckDBPyConnection,
    contract: Contract,
    rows: str,
    narrow: Callable[[SqlCheck], str],
    only: Callable[[SqlCheck], bool] = every_check,
) -> list[CheckResult]:
    """Runs the contract's checks on some rows of its table: those that an incremental write has worked out.

    Args:
        con: a connection, inside the writer's transaction.
        contract: the table's contract.
        rows: the relation that holds these rows, as they now stand in the table.
        narrow: gives a check's SELECT such that it looks at what belongs to these rows only.
        only: leaves out some of the contract's SELECTs.

    Raises:
        CheckError: a blocking check failed.
    """
    results = [_contract(con, contract, rows)]
    if _references(contract):
        results.append(_foreign_keys(con, contract, rows))
    asked = [check for check in contract.checks if not check.whole_table and only(check)]
    results += [_sql_check(con, contract, check, narrow(check)) for check in asked]
    stop_if_blocked(contract.table, results)
    return results


def _sql_check(con: DuckDBPyConnection, contract: Contract, check: SqlCheck, sql: str) -> CheckResult:
    found = con.execute(f"select count(*) from ({sql}) as offending").fetchone()
    count = int(found[0]) if found else 0
    examples = _examples(con, contract, f"select * from ({sql}) as offending") if count else ()
    return CheckResult(check.name, check.severity, check.description, (Rule(check.name, count, examples),))


class BlockedError(CheckError):
    """Blocking checks failed; carries all results so that they can be shown."""

    def __init__(self, table: str, results: Sequence[CheckResult]) -> None:
        failed = [r for r in results if not r.passed and r.severity == "block"]
        self.results = tuple(results)
        super().__init__(
            "; ".join(f"check {r.name} failed: {r.explain()}" for r in failed),
            where=table,
            fix="the previous version of the table is kept; correct the input or the definition and build again",
        )


def stop_if_blocked(table: str, results: Sequence[CheckResult]) -> None:
    """Raises `BlockedError` when a blocking check among `results` failed."""
    if any(not r.passed and r.severity == "block" for r in results):
        raise BlockedError(table, results)


def _examples(con: DuckDBPyConnection, contract: Contract, sql: str, only: Sequence[str] = ()) -> tuple[str, ...]:
    """The first rows of a SELECT over offending rows, each with the delivered record that it comes from.

    `only` are the columns shown, when the others are there to lead to the record.
    """
    found = con.execute(f"{sql} limit {EXAMPLES}")
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return tuple(_show(contract, row, only) + _origin(con, contract, row) for row in rows)


def _show(contract: Contract, row: dict[str, Any], only: Sequence[str] = ()) -> str:
    masked = {n for n, c in contract.columns.items() if c.pii}
    shown = {n: "•••" if n in masked and v is not None else v for n, v in row.items() if n not in PROVENANCE}
    return "(" + ", ".join(f"{n}={v!s}" for n, v in shown.items() if not only or n in only) + ")"


def _origin(con: DuckDBPyConnection, contract: Contract, row: dict[str, Any]) -> str:
    """The file and record that a row of this table comes from; empty where it is made of many, or of none."""
    record = "from {}/{} record {}"
    if row.get("_source_file") is not None:
        return " " + record.format(row.get("_load_date"), row["_source_file"], row.get("_source_row"))
    for entity, key in contract.traces.items():
        if all(row.get(k) is not None for k in key) and table_exists(con, "silver", entity):
            same = " and ".join(f"{quote(k)} = ${n}" for n, k in enumerate(key, start=1))
            found = con.execute(
                f"select _load_date, _source_file, _source_row from silver.{quote(entity)} where {same} limit 1",
                [row[k] for k in key],
            ).fetchone()
            if found:
                return f" {entity} {record.format(*found)}"
    return ""


def column_rules(name: str, column: Column, *, required: bool) -> list[tuple[str, str, str]]:
    """The rules of one column as (reason code, text, SQL condition that is true for an offending row)."""
    q, rules = quote(name), []
    if required:
        rules.append(("missing_required", f"{name} is required", f"{q} is null"))
    if column.accepted is not None:
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.accepted)
        rules.append(("not_accepted", f"{name} is one of {', '.join(column.accepted)}", f"{q} not in ({values})"))
    if isinstance(column.min, date):
        rules.append(("out_of_range", f"{name} is not before {column.min}", f"{q} < date '{column.min}'"))
    elif column.min is not None:
        rules.append(
            ("out_of_range", f"{name} is at least {column.min:g}", f"{q} < {column.min!r}{_or_nan(column, q)}")
        )
    if column.max is not None:
        rules.append(("out_of_range", f"{name} is at most {column.max:g}", f"{q} > {column.max!r}"))
    if column.past:
        known = f"{name} had happened by the day after it was delivered, and not before {_FIRST}"
        rules.append(("out_of_range", known, f"({q} < date '{_FIRST}' or {q} >= _load_date + 2)"))
    return rules


def _or_nan(column: Column, q: str) -> str:
    """A number that is none is larger than every other to DuckDB, so that it is not too small."""
    return f" or isnan({q})" if column.type == "DOUBLE" else ""


def _contract(con: DuckDBPyConnection, contract: Contract, rows: str | None = None) -> CheckResult:
    rules = [
        (text, condition)
        for name, column in contract.columns.items()
        for _, text, condition in column_rules(name, column, required=name in contract.required_columns)
    ]
    wrong, shown = wrong_columns(con, contract)
    found = [Rule("columns and types", wrong, shown)]
    if wrong:  # the other rules cannot even be asked
        return CheckResult("contract", "block", check_names(contract)[0][2], tuple(found))
    # Equal keys have equal hashes: as many hashes as rows proves the key unique without comparing texts.
    key = ", ".join(quote(k) for k in contract.key)
    counts = ["count(*)", f"count(distinct hash({key}))"]
    counts += [f"count(*) filter (where {condition})" for _, condition in rules]
    table = rows or f"{contract.layer}.{quote(contract.name)}"
    traced = [c for k in contract.traces.values() for c in k]
    provenance = PROVENANCE if contract.entity or contract.history_of else ()
    shown_columns = ", ".join(quote(c) for c in dict.fromkeys([*contract.key, *traced, *provenance]))
    row = con.execute(f"select {', '.join(counts)} from {table}").fetchone()
    assert row is not None
    total = int(row[0])
    for (text, condition), count in zip(rules, row[2:], strict=True):
        examples: tuple[str, ...] = ()
        if count:
            broken = f"select {shown_columns} from {table} where {condition} order by all"
            examples = _examples(con, contract, broken, only=contract.key)
        found.append(Rule(text, int(count), examples))
    duplicated, examples = 0, ()
    if int(row[1]) != total:
        query = f"select {key}, count(*) as rows from {table} group by {key} having count(*) > 1"
        extra = con.execute(f"select coalesce(sum(rows) - count(*), 0) from ({query}) as d").fetchone()
        duplicated = int(extra[0]) if extra else 0
        examples = _examples(con, contract, f"{query} order by rows desc, {key}")
    found.append(Rule(f"unique key ({', '.join(contract.key)})", duplicated, examples))
    return CheckResult("contract", "block", check_names(contract)[0][2], tuple(found), rows=total)


def wrong_columns(con: DuckDBPyConnection, contract: Contract) -> tuple[int, tuple[str, ...]]:
    """How many columns of the table are not those of the contract, and the first of them in words."""
    described = con.execute(f"describe {contract.layer}.{quote(contract.name)}").fetchall()
    actual = {name: kind.replace(" ", "") for name, kind, *_ in described}
    expected = {name: column.type for name, column in contract.all_columns.items()}
    wrong = [f"{n}: {actual.get(n, 'missing')}, expected {t}" for n, t in expected.items() if actual.get(n) != t]
    wrong += [f"{n}: not in the contract" for n in actual if n not in expected]
    return len(wrong), tuple(wrong[:EXAMPLES])


def _references(contract: Contract) -> dict[str, str]:
    """Column → `schema.table.column`. Silver only documents its references: there, the parent may come later."""
    if contract.layer == "silver":
        return {}
    return {name: column.references for name, column in contract.columns.items() if column.references}


def _foreign_keys(con: DuckDBPyConnection, contract: Contract, rows: str | None = None) -> CheckResult:
    rules = []
    for name, target in _references(contract).items():
        schema, table, parent = target.split(".")
        orphans = (
            f"from {rows or f'{contract.layer}.{quote(contract.name)}'} as child where child.{quote(name)} is not null and not exists "
            f"(select 1 from {schema}.{quote(table)} as parent where parent.{quote(parent)} = child.{quote(name)})"
        )
        row = con.execute(f"select count(*) {orphans}").fetchone()
        count = int(row[0]) if row else 0
        examples: tuple[str, ...] = ()
        if count:
            # One row per missing parent, with what leads back to a delivered record that names it.
            columns = dict.fromkeys([name, *(c for key in contract.traces.values() for c in key)])
            listed = ", ".join(f"child.{quote(c)}" for c in columns)
            sample = con.execute(
                f"select {listed} {orphans} qualify row_number() over (partition by child.{quote(name)} order by {listed}) "
                f"= 1 order by 1 limit {EXAMPLES}"
            ).fetchall()
            examples = tuple(
                f"{row[0]}{_origin(con, contract, dict(zip(columns, row, strict=True)))}" for row in sample
            )
        rules.append(Rule(f"{name} → {target}", count, examples))
    return CheckResult("foreign_keys", "warn", "Every reference finds its parent row.", tuple(rules))
