"""How a SELECT's result becomes a table: replace, replace a range of days, or upsert by key.

Each is one transaction that runs the table's checks on what was written before it commits, so a killed run and
a failed check both leave the previous version. SELECTs never write; nothing else in the platform does for
gold and ml. Silver's way of keeping the newest version of each key is in `silver.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.quality.contract_checks import CheckResult, check_table
from ecommerce_platform.warehouse.transaction import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Check = Callable[["DuckDBPyConnection", Contract], Sequence[CheckResult]]


@dataclass(frozen=True)
class Written:
    """What a write did: the table's rows now, how many changed, and what the checks said."""

    rows: int
    inserted: int
    updated: int
    deleted: int
    checks: tuple[CheckResult, ...]


def replace_table(con: DuckDBPyConnection, contract: Contract, select: str, check: Check = check_table) -> Written:
    """Makes the table hold exactly the result of `select`.

    Raises:
        DefinitionError: the SELECT's columns or types are not the contract's.
        BlockedError: a blocking check failed; the previous version stays.
    """
    with transaction(con):
        before = count_rows(con, contract) if table_exists(con, contract.layer, contract.name) else 0
        con.execute(f"create or replace table {_name(contract)} as {select}")
        fits(con, contract, f"select * from {_name(contract)}")
        return _checked(con, contract, check, inserted=None, updated=0, deleted=before)


def replace_days(
    con: DuckDBPyConnection, contract: Contract, select: str, first: date, last: date, check: Check = check_table
) -> Written:
    """Makes the rows whose `day_column` lies in [first, last] exactly those of `select` in that range.

    Raises:
        DefinitionError: the contract has no `day_column`, or the SELECT does not fit it.
        BlockedError: a blocking check failed; the previous version stays.
    """
    if contract.day_column is None:
        raise DefinitionError("day_column is missing", where=contract.path, fix="name the column that holds the day")
    days = f"{quote(contract.day_column)} between date '{first}' and date '{last}'"
    with transaction(con):
        fits(con, contract, select)
        con.execute(create_table_sql(contract))
        deleted = _changed(con, f"delete from {_name(contract)} where {days}")
        inserted = _changed(con, f"insert into {_name(contract)} select * from ({select}) as new where {days}")
        return _checked(con, contract, check, inserted=inserted, updated=0, deleted=deleted)


def upsert(con: DuckDBPyConnection, contract: Contract, select: str, check: Check = check_table) -> Written:
    """Replaces rows by key with those of `select` and adds the new ones; a row that is equal counts as neither.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed (two rows of one key, say); the previous version stays.
    """
    with transaction(con):
        fits(con, contract, select)
        con.execute(create_table_sql(contract))
        con.execute(f"create or replace temp table _new as {select}")
        inserted, updated = merge(con, contract, "_new")
        con.execute("drop table _new")
        return _checked(con, contract, check, inserted=inserted, updated=updated, deleted=0)


def merge(con: DuckDBPyConnection, contract: Contract, new: str) -> tuple[int, int]:
    """Merges the table `new` into the contract's by key; rows inserted and rows really changed."""
    columns = list(contract.all_columns)
    others = [quote(c) for c in columns if c not in contract.key]
    on = " and ".join(f"old.{quote(k)} = new.{quote(k)}" for k in contract.key)
    differs = " or ".join(f"old.{c} is distinct from new.{c}" for c in others) or "false"
    assign = ", ".join(f"{c} = new.{c}" for c in others)
    update = f"when matched and ({differs}) then update set {assign}" if others else ""
    names, values = ", ".join(map(quote, columns)), ", ".join(f"new.{quote(c)}" for c in columns)
    actions = con.execute(
        f"merge into {_name(contract)} as old using {new} as new on {on} {update} "
        f"when not matched then insert ({names}) values ({values}) returning merge_action"
    ).fetchall()
    inserted = sum(1 for (action,) in actions if action == "INSERT")
    return inserted, len(actions) - inserted


def count_rows(con: DuckDBPyConnection, contract: Contract) -> int:
    """Rows of the contract's table."""
    row = con.execute(f"select count(*) from {_name(contract)}").fetchone()
    return int(row[0]) if row else 0


def fits(con: DuckDBPyConnection, contract: Contract, select: str) -> None:
    """Compares the SELECT's columns and types with the contract's, in order.

    Raises:
        DefinitionError: naming every column that differs.
    """
    expected = [(n, c.type) for n, c in contract.all_columns.items()]
    actual = [(row[0], row[1].replace(" ", "")) for row in con.execute(f"describe {select}").fetchall()]
    if actual == expected:
        return
    types = dict(actual)
    wrong = [f"{n} is {types.get(n, 'missing')}, the contract says {t}" for n, t in expected if types.get(n) != t]
    wrong += [f"{n} is not in the contract" for n, _ in actual if n not in dict(expected)]
    raise DefinitionError(
        f"the SELECT of {contract.table} does not give the contract's columns: "
        + ("; ".join(wrong) or "they come in another order"),
        where=contract.path.with_suffix(".sql"),
        fix=f"correct the SELECT or {contract.path.name}",
    )


def _checked(
    con: DuckDBPyConnection, contract: Contract, check: Check, *, inserted: int | None, updated: int, deleted: int
) -> Written:
    results = tuple(check(con, contract))
    rows = next((r.rows for r in results if r.rows is not None), None)
    rows = count_rows(con, contract) if rows is None else rows
    return Written(rows, rows if inserted is None else inserted, updated, deleted, results)


def table_exists(con: DuckDBPyConnection, schema: str, name: str) -> bool:
    """Whether the table is there."""
    query = "select count(*) from duckdb_tables() where schema_name = ? and table_name = ?"
    row = con.execute(query, [schema, name]).fetchone()
    return bool(row and row[0])


def _changed(con: DuckDBPyConnection, statement: str) -> int:
    row = con.execute(statement).fetchone()
    return int(row[0]) if row else 0


def _name(contract: Contract) -> str:
    return f"{contract.layer}.{quote(contract.name)}"
