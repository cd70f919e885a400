"""How a SELECT's result becomes a table: replaced whole, or by the rows that differ.

Each is one transaction that runs the table's checks on what was written before it commits, so a killed run and
a failed check both leave the previous version. SELECTs never write; nothing else in the platform does for
gold and ml. Which rows of a large table have to be worked out again is in `incremental.py`, which version
of a key silver keeps in `silver/entities.py`; both write through `apply_difference` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import PROVENANCE, Contract, SqlCheck
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.changes import (
    Log,
    log_rows,
    record_change,
    record_definition,
    record_seen,
    table_versions,
    unseen,
    upstream_in_step,
)
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_rows, check_table, wrong_columns
from ecommerce_platform.warehouse.lookup import column_types, table_exists
from ecommerce_platform.warehouse.transaction import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Check = Callable[["DuckDBPyConnection", Contract], Sequence[CheckResult]]

#: Tables of up to this many rows are compared with what they were even if nobody follows them row by row.
_COMPARED = 200_000
#: Share of a table's rows above which writing it whole costs less than writing the difference.
WHOLE_ABOVE = 0.3


@dataclass(frozen=True)
class Written:
    """What a write did: the table's rows now, how many changed, and what the checks said."""

    rows: int
    inserted: int
    updated: int
    deleted: int
    checks: tuple[CheckResult, ...]
    #: False when nothing that it is made from has changed, so that nothing was written or checked.
    changed: bool = True
    #: True when there was no table that one could have caught up from: the first time, and after its definition has changed.
    anew: bool = False


def as_it_was(con: DuckDBPyConnection, contract: Contract, checks: Iterable[CheckResult] = ()) -> Written:
    """What there is to say of a table to which nothing was done."""
    return Written(count_rows(con, contract), 0, 0, 0, tuple(checks), changed=False)


def ensure_table(con: DuckDBPyConnection, contract: Contract) -> None:
    """Sees to it that a table that is kept over many runs exists and has every column of its contract.

    A column that a newer version of the platform has added is null in the rows from before.

    Raises:
        DefinitionError: a column of the table is of another type than in the contract.
    """
    con.execute(create_table_sql(contract))
    there = column_types(con, _name(contract))
    for name, column in contract.all_columns.items():
        if name not in there:
            con.execute(f"alter table {_name(contract)} add column {quote(name)} {column.type}")
        elif there[name].replace(" ", "") != column.type:
            raise DefinitionError(
                f"column {name} of {contract.table} is {there[name]}, but {column.type} in its contract",
                where=contract.path,
                fix="a ledger's columns can be added, not changed: give the new one another name",
            )


def replace_table(
    con: DuckDBPyConnection,
    contract: Contract,
    select: str,
    check: Check | None = None,
    *,
    code_version: str = "",
    log: Log | None = None,
    reads: Iterable[str] = (),
    compare: bool = True,
    seen: Mapping[str, int] | None = None,
    also_write: Callable[[], None] | None = None,
) -> Written:
    """Makes the table hold exactly the result of `select`.

    A table that others follow row by row, and any small one, is compared with what it was, so that its followers and
    the publisher see what really changed.

    Args:
        con: a connection to the warehouse.
        contract: the table's contract.
        select: gives all its rows.
        check: runs on what was written before the commit; default: the contract's checks that can be asked now.
        code_version: of the definition; kept in the ledger of versions.
        log: what is logged about its changed rows.
        reads: tables that the SELECT reads, for the ledger.
        compare: false writes it whole without looking at what was there.
        seen: versions of the tables that the rows were made from, where they were read earlier than now.
        also_write: writes more in the same transaction.

    Raises:
        DefinitionError: the SELECT's columns or types are not the contract's.
        BlockedError: a blocking check failed; the previous version stays.
    """
    with transaction(con):
        now, behind = unseen(con, contract.table, reads, code_version)
        before = count_rows(con, contract) if table_exists(con, contract.layer, contract.name) else None
        same = compare and before is not None and wrong_columns(con, contract)[0] == 0 and (log or before <= _COMPARED)
        if same:
            difference = _replace_by_difference(con, contract, select, before or 0, code_version, log)
        else:
            con.execute(f"create or replace table {_name(contract)} as {select}")
            fits(con, contract, f"select * from {_name(contract)}")
            record_change(con, contract.table, code_version, log=log)
            difference = None
        record_seen(con, contract.table, now if seen is None else seen)
        if also_write:
            also_write()
        results = tuple(check(con, contract) if check else check_table(con, contract, in_step(con, contract, reads)))
        rows = count_rows(con, contract)
        anew = behind is None
        if difference is None:
            return Written(rows, rows, 0, before or 0, results, anew=anew)
        return Written(rows, difference.inserted, difference.updated, difference.deleted, results, anew=anew)


def _replace_by_difference(
    con: DuckDBPyConnection, contract: Contract, select: str, before: int, code_version: str, log: Log | None
) -> Difference:
    con.execute(f"create or replace temp table _new as {select}")
    fits(con, contract, "select * from _new")
    con.execute(f"create or replace temp view _old as select rowid as _rowid, * from {_name(contract)}")
    difference = find_difference(con, contract, "_old", "_new")
    # Several rows of one key that equal the one there are no difference: written whole, the checks see them.
    doubled = _count(con, "_new") != before + difference.inserted - difference.deleted
    if doubled or difference.rows > max(1000, before * WHOLE_ABOVE):
        con.execute(f"create or replace table {_name(contract)} as select * from _new")
        record_change(con, contract.table, code_version, log=log)
    else:
        apply_difference(con, contract, difference, code_version, log)
        if not difference.rows:
            record_definition(con, contract.table, code_version)
    con.execute("drop view _old; drop table _new")
    return difference


def upsert(
    con: DuckDBPyConnection, contract: Contract, select: str, check: Check = check_table, *, code_version: str = ""
) -> Written:
    """Replaces rows by key with those of `select` and adds the new ones; a row that is equal counts as neither.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed (two rows of one key, say); the previous version stays.
    """
    with transaction(con):
        return upsert_rows(con, contract, select, check, code_version=code_version)


def upsert_rows(
    con: DuckDBPyConnection, contract: Contract, select: str, check: Check = check_table, *, code_version: str = ""
) -> Written:
    """The same within the caller's transaction, for several tables that are written together or not at all."""
    fits(con, contract, select)
    con.execute(create_table_sql(contract))
    con.execute(f"create or replace temp table _new as {select}")
    keys = ", ".join(map(quote, contract.key))
    con.execute(
        f"create or replace temp view _old as select rowid as _rowid, * from {_name(contract)} "
        f"where ({keys}) in (select ({keys}) from _new)"
    )
    difference = find_difference(con, contract, "_old", "_new")
    doubled = _count(con, "_new") != _count(con, "_old") + difference.inserted
    apply_difference(con, contract, difference, code_version, None)
    if doubled:  # rows that equal one another and the one there: for the checks to see
        con.execute(f"insert into {_name(contract)} by name select * from _new")
    con.execute("drop view _old; drop table _new")
    results = tuple(check(con, contract))
    return Written(count_rows(con, contract), difference.inserted, difference.updated, 0, results)


class GrowingTable:
    """A table of which each load replaces a part, within the caller's transaction; made anew with another definition.

    Args:
        con: a connection to the warehouse, inside a transaction.
        contract: the table's contract.
        definition: version of all that decides its rows besides what it reads.
    """

    def __init__(self, con: DuckDBPyConnection, contract: Contract, definition: str) -> None:
        self.con, self.contract, self.definition = con, contract, definition
        self.versions = table_versions(con)
        mine, there = self.versions.get(contract.table), table_exists(con, contract.layer, contract.name)
        #: Whether it is empty now, and all loads have to be worked out.
        self.rebuild = mine is None or mine.code_version != definition or not there
        if self.rebuild:
            con.execute(create_table_sql(contract, or_replace=True))

    def take_in(self, staged: str, deleted: int, reads: Iterable[str], *, full_checks: bool) -> Written:
        """Inserts the rows of a temporary table, which is dropped, and checks them.

        Args:
            staged: the temporary table, with the contract's columns.
            deleted: how many rows were deleted before.
            reads: the tables that the rows were made from.
            full_checks: checks the whole table even if only some rows were written.

        Raises:
            BlockedError: a blocking check failed.
        """
        con, contract = self.con, self.contract
        names = ", ".join(map(quote, contract.columns))
        con.execute(f"insert into {_name(contract)} ({names}) select {names} from {staged}")
        inserted = _count(con, staged)
        changed = self.rebuild or bool(inserted or deleted)
        if changed:
            record_change(con, contract.table, self.definition)
        record_seen(con, contract.table, {t: self.versions[t].version for t in reads if t in self.versions})
        if self.rebuild or full_checks:
            results = check_table(con, contract)
        else:
            results = check_rows(con, contract, staged, lambda c: c.sql) if inserted else []
        con.execute(f"drop table {staged}")
        return Written(count_rows(con, contract), inserted, 0, deleted, tuple(results), changed=changed)


def in_step(con: DuckDBPyConnection, contract: Contract, reads: Iterable[str]) -> Callable[[SqlCheck], bool]:
    """Which checks can be asked now: those that compare with tables further up only while these agree.

    A table agrees with what it reads, because both are looked at in one transaction. With tables further up it may
    not: another run may have changed them since. The run that catches up asks again, and nothing is published before.
    """
    near = {*reads, contract.table}

    def agree(check: SqlCheck) -> bool:
        far = _tables_in(check.sql) - near
        return not far or upstream_in_step(con, [*reads, *far])

    return agree


@cache
def _tables_in(sql: str) -> frozenset[str]:
    import sqlglot
    from sqlglot import exp

    return frozenset(f"{t.db}.{t.name}" for t in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table) if t.db)


@dataclass(frozen=True)
class Difference:
    """How new rows differ from those of the table; the rows stand in the temporary table `_difference`."""

    inserted: int
    updated: int
    deleted: int
    #: Rows of these that differ in more than provenance: the others change nothing for those who follow.
    meaningful: int

    @property
    def rows(self) -> int:
        """Rows that differ."""
        return self.inserted + self.updated + self.deleted


def find_difference(con: DuckDBPyConnection, contract: Contract, old: str, new: str) -> Difference:
    """Compares the rows of `old` (with `_rowid`, their row id in the contract's table) and `new` by key.

    Leaves in the temporary table `_difference`, for rows that are not equal: `_rowid` (null: inserted), `_stays`
    (false: deleted), `_meaningful`, the new columns, and the old ones as struct `_was`.
    """
    columns = list(contract.all_columns)
    on = " and ".join(f"o.{quote(k)} = n.{quote(k)}" for k in contract.key)
    own = [c for c in columns if c not in contract.key and (c not in PROVENANCE or not contract.entity)]
    provenance = [c for c in columns if c not in contract.key and c not in own]
    differs = " or ".join(f"o.{quote(c)} is distinct from n.{quote(c)}" for c in own) or "false"
    moved = " or ".join(f"o.{quote(c)} is distinct from n.{quote(c)}" for c in provenance) or "false"
    con.execute(
        f"create or replace temp table _difference as select o._rowid, n.{quote(contract.key[0])} is not null as _stays, "
        f"(o._rowid is null or n.{quote(contract.key[0])} is null or {differs}) as _meaningful, "
        f"{', '.join(f'n.{quote(c)}' for c in columns)}, "
        f"struct_pack({', '.join(f'{quote(c)} := o.{quote(c)}' for c in columns)}) as _was "
        f"from {old} as o full join {new} as n on {on} "
        f"where o._rowid is null or n.{quote(contract.key[0])} is null or {differs} or {moved}"
    )
    row = con.execute(
        "select count(*) filter (where _rowid is null), count(*) filter (where _rowid is not null and _stays), "
        "count(*) filter (where not _stays), count(*) filter (where _meaningful) from _difference"
    ).fetchone()
    assert row is not None
    return Difference(*row)


def apply_difference(
    con: DuckDBPyConnection, contract: Contract, difference: Difference, code_version: str, log: Log | None
) -> None:
    """Writes what `find_difference` found, gives the table its new version and logs the changed rows."""
    table = _name(contract)
    columns = ", ".join(map(quote, contract.all_columns))
    if difference.updated or difference.deleted:
        con.execute(f"delete from {table} where rowid in (select _rowid from _difference)")
    if difference.inserted or difference.updated:
        con.execute(f"insert into {table} ({columns}) select {columns} from _difference where _stays")
    if difference.rows:
        version = record_change(con, contract.table, code_version, whole=False, log=log)
        if log and difference.meaningful:
            after = ", ".join(map(quote, log.columns))
            before = ", ".join(f"_was.{quote(c)}" for c in log.columns)
            differs = " or ".join(f"{quote(c)} is distinct from _was.{quote(c)}" for c in sorted(log.watched))
            matters = f"_meaningful and (_rowid is null or not _stays or {differs})"
            log_rows(
                con, contract.table, version,
                f"select {after} from _difference where _stays and {matters} union "
                f"select {before} from _difference where _rowid is not null and {matters}",
            )  # fmt: skip
    con.execute("drop table _difference")


def count_rows(con: DuckDBPyConnection, contract: Contract) -> int:
    """Rows of the contract's table."""
    return _count(con, _name(contract))


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


def _count(con: DuckDBPyConnection, relation: str) -> int:
    row = con.execute(f"select count(*) from {relation}").fetchone()
    return int(row[0]) if row else 0


def _name(contract: Contract) -> str:
    return f"{contract.layer}.{quote(contract.name)}"
