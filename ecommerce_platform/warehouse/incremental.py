"""Tables that are a SELECT, kept up to date by working out again only the keys that a change has reached.

A contract with `write: incremental` says by which columns the table is recomputed and how it follows each table that
it reads (`contracts/contract.py`). Here these declarations become SQL: which keys the unseen changes touch, the
SELECT narrowed to them, and the difference written. Whatever cannot be caught up with by keys is built whole, by the
SELECT as it stands. What changed, and who has seen it, is in `changes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.changes import Log, changed_rows, record_seen, unseen
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_rows, check_table
from ecommerce_platform.warehouse.sql_model import SqlModel
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import (
    WHOLE_ABOVE,
    Written,
    apply_difference,
    as_it_was,
    count_rows,
    find_difference,
    fits,
    in_step,
    replace_table,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Writes what belongs to a table's change: a connection inside the transaction, and the relation of the touched keys
#: (None where the table was written whole).
AlsoWrite = Callable[["DuckDBPyConnection", str | None], None]


@dataclass(frozen=True)
class Incremental:
    """An incremental table: its SELECT, and for each table it reads what a change there touches."""

    model: SqlModel
    #: Every table's contract, for the columns there are.
    known: Mapping[str, Contract]

    @property
    def contract(self) -> Contract:
        """The table's contract."""
        return self.model.contract

    @cached_property
    def scope(self) -> str:
        """The recompute_by columns as SQL."""
        return ", ".join(map(quote, self.contract.recompute_by))

    @property
    def own(self) -> str:
        """Condition on the table's own rows that are worked out again."""
        return f"({self.scope}) in (select ({self.scope}) from touched)"

    def touches(self, table: str) -> str:
        """SELECT of the touched keys from `changed`, the changed rows of `table`."""
        follow = self.contract.follows[table]
        if follow.by:
            return f"select changed.{quote(follow.by)} as {self.scope} from changed"
        assert follow.touches is not None
        return follow.touches

    @cached_property
    def keeps(self) -> dict[str, str]:
        """Table → condition on its rows that matter for the keys in `touched`, in the order of `follows`."""
        found = {}
        for table, follow in self.contract.follows.items():
            if follow.by:
                found[table] = f"{quote(follow.by)} in (select {self.scope} from touched)"
            elif follow.keep:
                found[table] = follow.keep
        return found

    def tracked(self, table: str) -> tuple[str, ...]:
        """The columns of `table` that `touches` looks at, changed or not."""
        import sqlglot
        from sqlglot import exp

        tree = sqlglot.parse_one(self.touches(table), dialect="duckdb")
        found = {c.name for c in tree.find_all(exp.Column) if c.table == "changed"}
        return tuple(sorted(found))

    def watched(self, table: str) -> frozenset[str]:
        """The columns of `table` that the SELECT may look at: a change of the others changes nothing here."""
        from sqlglot import exp

        columns, found = set(self.known[table].all_columns), set()
        for node in self.model.tree.find_all(exp.Table):
            if f"{node.db}.{node.name}" != table:
                continue
            select = node.find_ancestor(exp.Select)
            if select is None or select.find(exp.Star):
                return frozenset(columns)
            joins = list(select.find_all(exp.Join))
            if any(join.args.get("method") == "NATURAL" for join in joins):
                return frozenset(columns)
            found |= {c.name for c in select.find_all(exp.Column)}
            found |= {c.name for join in joins for c in join.args.get("using") or ()}
        return frozenset(found & columns)

    @cached_property
    def kept(self) -> dict[str, tuple[str, str]]:
        """Table → name and SELECT of the temporary table that holds what matters of it: read once, then used by the
        SELECT, by later conditions and by the checks."""
        import sqlglot
        from sqlglot import exp

        texts = [check.sql for check in self.contract.checks] + [f"select 1 where {k}" for k in self.keeps.values()]
        trees = [sqlglot.parse_one(text, dialect="duckdb") for text in texts]
        named = {c.name for tree in trees for c in tree.find_all(exp.Column)}
        named |= {c.name for tree in trees for join in tree.find_all(exp.Join) for c in join.args.get("using") or ()}
        found = {}
        for table, keep in self.keeps.items():
            every = self.known[table].all_columns
            used = self.watched(table) | (named & set(every))
            columns = ", ".join(quote(c) for c in every if c in used)
            found[table] = (f"kept_{table.split('.')[1]}", f"select {columns} from {table} where {keep}")
        return found


def compile_incremental(model: SqlModel, known: Mapping[str, Contract]) -> Incremental:
    """Holds an incremental table's declarations against its SELECT and the tables it follows.

    Raises:
        DefinitionError: a table that is read is not followed, or the other way round; a column that is not there.
    """
    import sqlglot

    contract, table = model.contract, Incremental(model, known)
    where = contract.path
    reads, follows = set(model.reads), set(contract.follows)
    if reads != follows:
        missing, extra = sorted(reads - follows), sorted(follows - reads)
        raise DefinitionError(
            f"{contract.table} does not follow exactly what it reads"
            + (f"; reads but does not follow {', '.join(missing)}" if missing else "")
            + (f"; follows but does not read {', '.join(extra)}" if extra else ""),
            where=where,
            fix="add `by: <column>`, or `touches:` and `keep:`, under follows for each table that the SELECT reads",
        )
    for name in contract.follows:
        try:
            tracked = table.tracked(name)
        except sqlglot.errors.ParseError as error:
            raise DefinitionError(f"follows {name}: touches is not valid SQL: {error}", where=where) from None
        wrong = [c for c in tracked if c not in known[name].all_columns]
        if wrong or not tracked:
            raise DefinitionError(
                f"follows {name}: touches "
                + (f"names {', '.join(wrong)}, which {name} does not have" if wrong else "uses no column of changed"),
                where=where,
                fix="write the columns of the changed rows as changed.<column>",
            )
    return table


def logs(tables: Collection[Incremental]) -> dict[str, Log]:
    """For every table that incremental ones follow: which columns of its changed rows are logged, and for whom."""
    found: dict[str, Log] = {}
    for table in tables:
        for name in table.contract.follows:
            tracked, log = table.tracked(name), found.get(name, Log((), frozenset(), ()))
            found[name] = Log(
                tuple(sorted({*log.columns, *tracked})),
                log.watched | table.watched(name) | set(tracked),
                (*log.followers, table.contract.table),
            )
    return found


def refresh_table(
    con: DuckDBPyConnection,
    model: SqlModel,
    incremental: Incremental | None,
    *,
    log: Log | None = None,
    full_checks: bool = False,
    also_write: AlsoWrite | None = None,
) -> Written:
    """Brings a table that is a SELECT up to date with all tables it reads, in one transaction.

    If none of them changed since, and its definition did not either, nothing is written.

    Args:
        con: a connection to the warehouse.
        model: the table.
        incremental: how it is updated by keys, if it is; otherwise it is replaced.
        log: what is logged about its own changed rows.
        full_checks: checks the whole table rather than the touched rows.
        also_write: writes more whenever the table is written, in the same transaction.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed; the previous version stays.
    """
    if incremental is not None:
        return _update(con, incremental, log=log, full_checks=full_checks, also_write=also_write)
    assert model.table.sql is not None
    contract = model.contract
    _, behind = unseen(con, contract.table, model.reads, model.code_version)
    if behind is None or behind:
        return _replace(con, model, log, also_write=also_write)
    with transaction(con):
        return _as_it_was(con, model, full_checks)


def _replace(
    con: DuckDBPyConnection,
    model: SqlModel,
    log: Log | None,
    *,
    compare: bool = True,
    also_write: AlsoWrite | None = None,
) -> Written:
    assert model.table.sql is not None
    return replace_table(
        con,
        model.contract,
        model.table.sql,
        code_version=model.code_version,
        log=log,
        reads=model.reads,
        compare=compare,
        also_write=(lambda: also_write(con, None)) if also_write else None,
    )


def _update(
    con: DuckDBPyConnection,
    table: Incremental,
    *,
    log: Log | None = None,
    full_checks: bool = False,
    also_write: AlsoWrite | None = None,
) -> Written:
    model, contract = table.model, table.contract
    assert model.table.sql is not None
    with transaction(con):
        now, behind = unseen(con, contract.table, model.reads, model.code_version)
        if behind is not None and behind:
            touched = touch(con, table, behind)
            if touched is None:
                behind = None
            elif touched:
                written = recompute(con, table, log, full_checks=full_checks, also_write=also_write)
                record_seen(con, contract.table, now)
                return written
        if behind is not None:
            record_seen(con, contract.table, now)
            return _as_it_was(con, model, full_checks)
    return _replace(con, model, log, compare=False, also_write=also_write)


def _as_it_was(con: DuckDBPyConnection, model: SqlModel, full_checks: bool) -> Written:
    contract = model.contract
    return as_it_was(
        con, contract, check_table(con, contract, in_step(con, contract, model.reads)) if full_checks else ()
    )


def touch(con: DuckDBPyConnection, table: Incremental, behind: Mapping[str, int]) -> int | None:
    """Fills the temporary table `touched` with the keys that the unseen changes reach.

    Args:
        con: a connection, in a transaction.
        table: the table.
        behind: table → version last seen, as `unseen` gives it.

    Returns:
        How many keys there are; None if so many that the table is better built whole.
    """
    selects = [
        f"select * from (with changed as (select * from ({changed_rows(name, since)}) as log) {table.touches(name)}) as t"
        for name, since in behind.items()
    ]
    not_null = " and ".join(f"{quote(c)} is not null" for c in table.contract.recompute_by)
    row = con.execute(
        f"create or replace temp table touched as select distinct * from ({' union all '.join(selects)}) as keys "
        f"({table.scope}) where {not_null}"
    ).fetchone()
    found = int(row[0]) if row else 0
    return None if found > max(1000, WHOLE_ABOVE * count_rows(con, table.contract)) else found


def recompute(
    con: DuckDBPyConnection,
    table: Incremental,
    log: Log | None,
    *,
    full_checks: bool,
    also_write: AlsoWrite | None = None,
    rows: str | None = None,
) -> Written:
    """Makes the table hold, of the keys in `touched`, what its SELECT gives; in the transaction that this is called in.

    Args:
        con: a connection, in a transaction.
        table: the table.
        log: what is logged about its own changed rows.
        full_checks: checks the whole table rather than the touched rows.
        also_write: writes more whenever the table is written.
        rows: a SELECT of rows that somebody else has worked out for these keys; rows of other keys are left out.

    Raises:
        DefinitionError: the rows do not fit the contract.
        BlockedError: a blocking check failed.
    """
    model, contract = table.model, table.contract
    assert model.table.sql is not None
    for name, select in table.kept.values():
        con.execute(f"create or replace temp table {name} as {select}")
    kept = {read: name for read, (name, _) in table.kept.items()}
    narrowed_select = rows or exchange(model.table.sql, kept)
    con.execute(f"create or replace temp table _new as select * from ({narrowed_select}) as narrowed where {table.own}")
    fits(con, contract, "select * from _new")
    con.execute(
        f"create or replace temp table _old as select rowid as _rowid, * from {contract.table} where {table.own}"
    )
    difference = find_difference(con, contract, "_old", "_new")
    if difference.rows:
        apply_difference(con, contract, difference, model.code_version, log)
        if also_write:
            also_write(con, "touched")
    # Of the touched keys, the table now holds exactly the rows of _new.
    narrowed = {**kept, contract.table: "_new"}
    asked = in_step(con, contract, model.reads)
    results: Sequence[CheckResult] = (
        check_table(con, contract, asked)
        if full_checks
        else check_rows(con, contract, "_new", lambda c: exchange(c.sql, {**_where(c.keep), **narrowed}), asked)
    )
    count = count_rows(con, contract)
    for name in ("_new", "_old", "touched", *kept.values()):
        con.execute(f"drop table {name}")
    return Written(
        count,
        difference.inserted,
        difference.updated,
        difference.deleted,
        tuple(results),
        changed=bool(difference.rows),
    )


def _where(keeps: Mapping[str, str]) -> dict[str, str]:
    return {name: f"(select * from {name} where {keep})" for name, keep in keeps.items()}


def exchange(sql: str, instead: Mapping[str, str]) -> str:
    """The SELECT with each table of `instead` exchanged for another relation, all else as it is written.

    Only the table names are exchanged in the text, so that what runs is what the analyst wrote.
    """
    import sqlglot
    from sqlglot import exp

    spans: list[tuple[int, int, str]] = []
    for found in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table):
        other = instead.get(f"{found.db}.{found.name}")
        if other:
            start, end = found.args["db"].meta["start"], found.this.meta["end"] + 1
            spans.append((start, end, other + ("" if found.alias else f" as {quote(found.name)}")))
    for start, end, text in sorted(spans, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql
