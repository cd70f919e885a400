"""Checks that derive from contracts: one SQL pass per table, and the contract's own SELECTs.

They run on the writer's connection inside its transaction, so a table that fails a blocking check never exists
for anyone to read. Nothing here writes or knows Dagster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ecommerce_platform.contracts.contract import Column, Contract, SqlCheck
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import CheckError
from ecommerce_platform.warehouse.changes import of_two_states, seen_versions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: A table that a check's SELECT reads.
_TABLE = re.compile(r"\b(?:bronze|silver|gold|ml)\.[a-z_][a-z0-9_]*")
#: Offending values shown per rule.
EXAMPLES = 5


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


def check_table(con: DuckDBPyConnection, contract: Contract) -> list[CheckResult]:
    """Runs every check of the contract on its table, but for those that cannot be asked now (`_askable`).

    Raises:
        CheckError: a blocking check failed. Its `results` hold all results, so that they can still be reported.
    """
    results = [_contract(con, contract)]
    if _references(contract):
        results.append(_foreign_keys(con, contract))
    results += [_sql_check(con, check, check.sql) for check in _askable(con, contract, contract.checks)]
    stop_if_blocked(contract.table, results)
    return results


def check_rows(
    con: DuckDBPyConnection, contract: Contract, narrow: Callable[[SqlCheck], str], where: str
) -> list[CheckResult]:
    """Runs the contract's checks on some rows of its table: those that an incremental write has worked out.

    Args:
        con: a connection, inside the writer's transaction.
        contract: the table's contract.
        narrow: gives a check's SELECT such that it looks at what belongs to these rows only.
        where: condition on the table that these rows meet.

    Raises:
        CheckError: a blocking check failed.
    """
    results = [_contract(con, contract, where)]
    if _references(contract):
        results.append(_foreign_keys(con, contract, where))
    narrowed = [check for check in contract.checks if not check.whole_table]
    results += [_sql_check(con, check, narrow(check)) for check in _askable(con, contract, narrowed)]
    stop_if_blocked(contract.table, results)
    return results


def _askable(con: DuckDBPyConnection, contract: Contract, checks: Sequence[SqlCheck]) -> list[SqlCheck]:
    """The checks that can be asked now.

    One that compares the table with others can not while these stand for two states, because another run has written
    some and not yet those that follow. That run writes this table, too, and asks then; nothing is published before.
    """
    others = {check.name: set(_TABLE.findall(check.sql)) - {contract.table} for check in checks}
    if not any(others.values()):
        return list(checks)
    inputs = set(seen_versions(con).get(contract.table, {}))
    return [c for c in checks if not others[c.name] or not of_two_states(con, inputs | others[c.name])]


def _sql_check(con: DuckDBPyConnection, check: SqlCheck, sql: str) -> CheckResult:
    found = con.execute(f"select count(*) from ({sql}) as offending").fetchone()
    count = int(found[0]) if found else 0
    examples: tuple[str, ...] = ()
    if count:
        rows = con.execute(f"select * from ({sql}) as offending limit {EXAMPLES}")
        names = [column[0] for column in rows.description or ()]
        examples = tuple(_show(dict(zip(names, row, strict=True))) for row in rows.fetchall())
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


def _show(row: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{name}={value!s}" for name, value in row.items()) + ")"


def column_rules(name: str, column: Column, *, required: bool) -> list[tuple[str, str, str]]:
    """The rules of one column as (reason code, text, SQL condition that is true for an offending row)."""
    q, rules = quote(name), []
    if required:
        rules.append(("missing_required", f"{name} is required", f"{q} is null"))
    if column.accepted is not None:
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in column.accepted)
        rules.append(("not_accepted", f"{name} is one of {', '.join(column.accepted)}", f"{q} not in ({values})"))
    if column.min is not None:
        rules.append(("out_of_range", f"{name} is at least {column.min:g}", f"{q} < {column.min:g}"))
    if column.max is not None:
        rules.append(("out_of_range", f"{name} is at most {column.max:g}", f"{q} > {column.max:g}"))
    return rules


def _contract(con: DuckDBPyConnection, contract: Contract, where: str = "true") -> CheckResult:
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
    table = f"(select * from {contract.layer}.{quote(contract.name)} where {where}) as checked"
    row = con.execute(f"select {', '.join(counts)} from {table}").fetchone()
    assert row is not None
    total = int(row[0])
    for (text, condition), count in zip(rules, row[2:], strict=True):
        examples: tuple[str, ...] = ()
        if count:
            sample = con.execute(
                f"select {key} from {table} where {condition} order by all limit {EXAMPLES}"
            ).fetchall()
            examples = tuple(_show(dict(zip(contract.key, r, strict=True))) for r in sample)
        found.append(Rule(text, int(count), examples))
    duplicated, examples = 0, ()
    if int(row[1]) != total:
        query = f"select {key}, count(*) as rows from {table} group by {key} having count(*) > 1"
        extra = con.execute(f"select coalesce(sum(rows) - count(*), 0) from ({query}) as d").fetchone()
        duplicated = int(extra[0]) if extra else 0
        sample = con.execute(f"{query} order by rows desc, {key} limit {EXAMPLES}").fetchall()
        examples = tuple(_show(dict(zip((*contract.key, "rows"), r, strict=True))) for r in sample)
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


def _foreign_keys(con: DuckDBPyConnection, contract: Contract, where: str = "true") -> CheckResult:
    rules = []
    for name, target in _references(contract).items():
        schema, table, parent = target.split(".")
        orphans = (
            f"from (select * from {contract.layer}.{quote(contract.name)} where {where}) as child where child.{quote(name)} is not null and not exists "
            f"(select 1 from {schema}.{quote(table)} as parent where parent.{quote(parent)} = child.{quote(name)})"
        )
        row = con.execute(f"select count(*) {orphans}").fetchone()
        count = int(row[0]) if row else 0
        examples: tuple[str, ...] = ()
        if count:
            sample = con.execute(
                f"select distinct child.{quote(name)} {orphans} order by 1 limit {EXAMPLES}"
            ).fetchall()
            examples = tuple(str(r[0]) for r in sample)
        rules.append(Rule(f"{name} → {target}", count, examples))
    return CheckResult("foreign_keys", "warn", "Every reference finds its parent row.", tuple(rules))
