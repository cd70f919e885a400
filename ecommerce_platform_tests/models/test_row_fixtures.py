"""Each gold table on a few input rows: its SELECT, run in DuckDB, gives exactly the rows its fixture expects.

A fixture is `gold/<subject>/<table>.yml`: claims with the rows that are `given` and the rows to `expect`. Tables
that are given hold these rows and nothing else; what lies between them and the table under test is built by its
own SELECT; everything else is empty. Only the columns that `expect` names are compared, but all rows are, or all
rows that meet the claim's `where`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.contract import SqlCheck
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.warehouse.contract_checks import check_table
from ecommerce_platform.warehouse.sql_lint import lint_sql

FIXTURES = Path(__file__).parent / "gold"
CATALOG = read_catalog()
#: What Python fills has tests of its own.
GOLD = sorted(name for name, table in CATALOG.tables.items() if table.contract.layer == "gold" and table.sql)

#: What a given row has unless it says otherwise: required columns that most claims do not care about.
DEFAULTS: dict[str, dict[str, Any]] = {
    "silver.orders": {"ordered_at": "2024-01-10 12:00:00", "status": "delivered", "is_valid": True},
    "silver.order_items": {"line_number": 1, "product_id": "p1", "quantity": 1, "unit_price": 10},
    "silver.payments": {"payment_number": 1, "method": "card", "amount": 10},
    "silver.reviews": {"review_id": "r1", "score": 5},
    "silver.shop": {"min_pair_orders": 5},
}
#: The shop, where a claim does not give one of its own.
SHOP = {
    "source": "fixture",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "start_date": "2024-01-01",
    "churn_window_days": 90,
    "min_pair_orders": 5,
}


@dataclass(frozen=True)
class Claim:
    """One claim of a fixture file."""

    table: str
    name: str
    given: dict[str, list[dict[str, Any]]] = field(hash=False)
    expect: list[dict[str, Any]] = field(hash=False)
    where: str = "true"

    def __str__(self) -> str:
        return f"{self.table.removeprefix('gold.')}: {self.name}"


def read_claims() -> list[Claim]:
    claims = []
    for path in sorted(FIXTURES.rglob("*.yml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            claims.append(Claim(table=f"gold.{path.stem}", **test))
    return claims


CLAIMS = read_claims()


@cache
def tables_in(sql: str) -> frozenset[str]:
    """`schema.table` of every table a SELECT names."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    return frozenset(f"{found.db}.{found.name}" for found in tree.find_all(exp.Table) if found.db)


@cache
def upstream(table: str) -> frozenset[str]:
    """Everything a table is made of, however far up."""
    sql = CATALOG.tables[table].sql
    direct = tables_in(sql) if sql else frozenset()
    return direct.union(*(upstream(parent) for parent in direct))


def build(claim: Claim) -> tuple[duckdb.DuckDBPyConnection, set[str]]:
    """A database in which the claim's table has been built, and the tables that hold what they should."""
    con = duckdb.connect()
    for schema in ("bronze", "silver", "gold", "ml"):
        con.execute(f"create schema {schema}")
    for table in CATALOG.tables.values():
        con.execute(create_table_sql(table.contract))
    filled = {name for name in CATALOG.tables if name.startswith("silver.")}
    for name, rows in {"silver.shop": [SHOP], **claim.given}.items():
        insert(con, name, rows)
        filled.add(name)

    def fill(name: str) -> None:
        sql = CATALOG.tables[name].sql
        if name in claim.given or not sql or name in done:
            return
        done.add(name)
        for parent in sorted(tables_in(sql)):
            fill(parent)
        con.execute(f"insert into {name} {sql}")
        filled.add(name)

    done: set[str] = set()
    fill(claim.table)
    return con, filled


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    columns = CATALOG.contract(table).all_columns
    for number, row in enumerate(rows, start=1):
        unknown = set(row) - set(columns)
        assert not unknown, f"{table} has no column {', '.join(sorted(unknown))} (given row {number})"
        full = {**DEFAULTS.get(table, {}), **row}
        names = ", ".join(quote(name) for name in full)
        con.execute(f"insert into {table} ({names}) values ({', '.join('?' * len(full))})", list(full.values()))


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_the_select_gives_the_expected_rows(claim: Claim) -> None:
    con, filled = build(claim)
    contract = CATALOG.contract(claim.table)
    described = con.execute(f"describe {CATALOG.tables[claim.table].sql}").fetchall()
    assert [(row[0], row[1]) for row in described] == [(n, c.type) for n, c in contract.columns.items()]

    unknown = {name for row in claim.expect for name in row} - set(contract.columns)
    assert not unknown, f"{claim.table} has no column {', '.join(sorted(unknown))} (expected row)"
    named = list(dict.fromkeys(name for row in claim.expect for name in row)) or list(contract.key)
    key = ", ".join(quote(name) for name in contract.key)
    columns = ", ".join(map(quote, named))
    found = con.execute(f"select {columns} from {claim.table} where {claim.where} order by {key}").fetchall()
    rows = [dict(zip(named, row, strict=True)) for row in found]
    assert len(rows) == len(claim.expect), f"{len(rows)} rows, expected {len(claim.expect)}: {rows}"
    for number, (row, expected) in enumerate(zip(rows, claim.expect, strict=True), start=1):
        wrong = {n: (row[n], value) for n, value in expected.items() if not same(row[n], value)}
        assert not wrong, f"row {number} {row}: (found, expected) {wrong}"

    if all(applies(check, claim.table, filled) for check in contract.checks):
        check_table(con, contract)


def same(found: Any, expected: Any) -> bool:
    if found is None or expected is None:
        return found is expected
    if isinstance(found, Decimal):
        return found == Decimal(str(expected))
    if isinstance(found, float):
        return found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    return bool(found == expected)


def applies(check: SqlCheck, table: str, filled: set[str]) -> bool:
    """Whether all that a check compares with is there: a claim may give a table without what it is made of."""
    return tables_in(check.sql) - {table} <= filled


CHECKS = [(name, check) for name in GOLD for check in CATALOG.contract(name).checks]


@pytest.mark.parametrize(("table", "check"), CHECKS, ids=[f"{n.removeprefix('gold.')}: {c.name}" for n, c in CHECKS])
def test_the_check_passes_on_good_rows_and_fails_on_bad_ones(table: str, check: SqlCheck) -> None:
    """Rows are doubled, lost and changed one value at a time: at least one of these must be noticed."""
    good = False
    for claim in CLAIMS:
        if claim.table != table or not claim.expect:
            continue
        con, filled = build(claim)
        if not applies(check, table, filled) or offending(con, check):
            continue
        good = True
        for damage in damages(con, table):
            con.execute("begin")
            con.execute(damage)
            noticed = offending(con, check)
            con.execute("rollback")
            if noticed:
                return
    assert good, "no fixture of the table passes this check, so nothing shows that good rows do"
    pytest.fail("nothing that was done to the rows made this check fail: it checks nothing, or a fixture is missing")


def doubled_reads() -> list[tuple[str, str]]:
    """(table, table it reads) of tables that the generated shop has not: integration/test_fan_out.py has the others."""
    from ecommerce_platform_tests.integration.test_fan_out import FILLED

    left_out = [name for name in GOLD if not FILLED.issuperset(CATALOG.contract(name).requires)]
    return [(name, read) for name in left_out for read in sorted(tables_in(CATALOG.tables[name].sql or ""))]


@pytest.mark.parametrize(("table", "read"), doubled_reads())
def test_rows_that_are_doubled_change_nothing_or_are_noticed(table: str, read: str) -> None:
    """A join that fans out: of one fixture at least, everything that is read twice is noticed by a check or does nothing."""
    sql, checks = CATALOG.tables[table].sql or "", CATALOG.contract(table).checks
    columns = ", ".join(map(quote, CATALOG.contract(table).columns))
    tried = 0
    for claim in CLAIMS:
        if claim.table != table:
            continue
        con, filled = build(claim)
        if not con.execute(f"select count(*) from {read}").fetchall()[0][0]:
            continue
        tried += 1
        con.execute(f"create table before as select {columns} from {table}")
        con.execute(f"create table twice as select * from {read} union all select * from {read}")
        con.execute(f"delete from {table}")
        con.execute(f"insert into {table} {re.sub(rf'{re.escape(read)}(?= as| *$)', 'twice', sql, flags=re.MULTILINE)}")
        noticed = any(offending(con, check) for check in checks if applies(check, table, filled))
        key = ", ".join(map(quote, CATALOG.contract(table).key))
        noticed |= bool(con.execute(f"select 1 from {table} group by {key} having count(*) > 1").fetchall())
        differs = con.execute(f"select * from {table} except all select * from before").fetchall()
        assert noticed or not differs, f"{claim.name}: {differs}"
    assert tried, f"no fixture of {table} has rows in {read}"


def offending(con: duckdb.DuckDBPyConnection, check: SqlCheck) -> int:
    return con.execute(f"select count(*) from ({check.sql}) as offending").fetchall()[0][0]


def damages(con: duckdb.DuckDBPyConnection, table: str) -> Iterator[str]:
    """Statements that each spoil a table in one way: as a whole, then one of its first rows."""
    yield f"insert into {table} select * from {table}"
    yield f"delete from {table}"
    rows = [row[0] for row in con.execute(f"select rowid from {table} order by rowid limit 6").fetchall()]
    for row in rows:
        yield f"delete from {table} where rowid = {row}"
    for name, column in CATALOG.contract(table).columns.items():
        q = quote(name)
        if column.type == "BOOLEAN":
            values = [f"not coalesce({q}, false)"]
        elif column.type in ("DATE", "TIMESTAMP"):
            values = [f"{q} + interval 1 day", f"{q} + interval 3 year", f"{q} - interval 3 year"]
        elif column.type == "VARCHAR":
            values = [f"coalesce({q}, '') || 'x'"]
        else:
            values = [f"coalesce({q}, 0) + 1", f"coalesce({q}, 0) + 1000000", "0", "-1"]
        for value in [*values, "null"]:
            yield f"update {table} set {q} = {value}"
            for row in rows:
                yield f"update {table} set {q} = {value} where rowid = {row}"


def test_the_calendar_does_not_follow_a_typing_error() -> None:
    order = {"order_id": "o1", "ordered_at": "2024-01-01 12:00:00", "promised_at": "9999-12-31 00:00:00"}
    con, _ = build(Claim("gold.dim_date", "", {"silver.orders": [order]}, []))
    days = con.execute("select count(*), cast(max(calendar_date) as varchar) from gold.dim_date").fetchall()
    assert days == [(731, "2025-12-31")]


@pytest.mark.parametrize("table", GOLD)
def test_every_gold_table_has_a_fixture(table: str) -> None:
    contract = CATALOG.contract(table)
    path = FIXTURES / (contract.subject or "") / f"{contract.name}.yml"
    assert path.is_file(), f"add {path.relative_to(FIXTURES.parent)} with the rows that show what {table} means"
    assert sum(claim.table == table for claim in CLAIMS) > 0


def test_every_fixture_belongs_to_a_gold_table() -> None:
    assert {claim.table for claim in CLAIMS} <= set(GOLD)


@pytest.mark.parametrize(("table", "check"), CHECKS, ids=[f"{n.removeprefix('gold.')}: {c.name}" for n, c in CHECKS])
def test_a_check_reads_nothing_that_is_built_later(table: str, check: SqlCheck) -> None:
    """It runs while its table is written: what it compares with must be there by then."""
    assert tables_in(check.sql) <= upstream(table) | {table}
    assert table in tables_in(check.sql)
    assert lint_sql(check.sql) == []


def test_references_lead_to_keys_and_never_in_a_circle() -> None:
    parents = {name: set(tables_in(CATALOG.tables[name].sql or "select 1")) for name in GOLD}
    for name in GOLD:
        for column in CATALOG.contract(name).columns.values():
            if column.references:
                schema, table, key = column.references.split(".")
                assert CATALOG.contract(f"{schema}.{table}").key == (key,), column.references
                parents[name].add(f"{schema}.{table}")
    left = set(GOLD)
    while left:
        free = {name for name in left if not parents[name] & left}
        assert free, f"these wait for each other: {', '.join(sorted(left))}"
        left -= free
