"""Tables that are a SELECT, kept up to date by working out again only the keys that a change has reached.

A contract with `write: incremental` says by which columns the table is recomputed and how it follows each table that
it reads (`contracts/contract.py`). Here these declarations become SQL: which keys the unseen changes touch, the
SELECT narrowed to them, and the difference written. Whatever cannot be caught up with by keys is built whole, by the
SELECT as it stands. What changed, and who has seen it, is `changes.py`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.quality.contract_checks import CheckResult, check_rows, check_table
from ecommerce_platform.warehouse.changes import Log, changed_rows, record_seen, unseen
from ecommerce_platform.warehouse.sql_model import SqlModel
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import (
    WHOLE_ABOVE,
    Written,
    apply_difference,
    count_rows,
    find_difference,
    fits,
    replace_table,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Incremental:
    """An incremental table: its SELECT, and for each table it reads what a change there touches."""

    model: SqlModel

    @property
    def contract(self) -> Contract:
        """The table's contract."""
        return self.model.contract

    @cached_property
    def scope(self) -> str:
        """The recompute_by columns as SQL."""
        return ", ".join(map(quote, self.contract.recompute_by))

    def touches(self, table: str) -> str:
        """SELECT of the touched keys from `changed`, the changed rows of `table`."""
        follow = self.contract.follows[table]
        if follow.by:
            return f"select changed.{quote(follow.by)} as {self.scope} from changed"
        assert follow.touches is not None
        return follow.touches

    @cached_property
    def keeps(self) -> dict[str, str]:
        """Table → condition on its rows that matter for the keys in `touched`; the table itself is among them."""
        own = f"({self.scope}) in (select ({self.scope}) from touched)"
        found = {self.contract.table: own}
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

    def watched(self, table: str, columns: Collection[str]) -> frozenset[str]:
        """Those of `columns` of `table` that the SELECT may look at: a change of the others changes nothing here."""
        from sqlglot import exp

        found: set[str] = set()
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
        return frozenset(found & set(columns))


def compile_incremental(model: SqlModel, known: Mapping[str, Contract]) -> Incremental:
    """Holds an incremental table's declarations against its SELECT and the tables it follows.

    Raises:
        DefinitionError: a table that is read is not followed, or the other way round; a column that is not there.
    """
    import sqlglot

    contract, table = model.contract, Incremental(model)
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
        columns = known[name].all_columns if name in known else None
        wrong = [c for c in tracked if columns is not None and c not in columns]
        if wrong or not tracked:
            raise DefinitionError(
                f"follows {name}: touches "
                + (f"names {', '.join(wrong)}, which {name} does not have" if wrong else "uses no column of changed"),
                where=where,
                fix="write the columns of the changed rows as changed.<column>",
            )
    return table


def logs(tables: Collection[Incremental], known: Mapping[str, Contract]) -> dict[str, Log]:
    """For every table that incremental ones follow: which columns of its changed rows are logged, and for whom."""
    found: dict[str, Log] = {}
    for table in tables:
        for name in table.contract.follows:
            columns = known[name].all_columns
            tracked, log = table.tracked(name), found.get(name, Log((), frozenset(), ()))
            found[name] = Log(
                tuple(sorted({*log.columns, *tracked})),
                log.watched | table.watched(name, columns) | set(tracked),
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
) -> Written:
    """Brings a table that is a SELECT up to date with all tables it reads, in one transaction.

    If none of them changed since, and its definition did not either, nothing is written.

    Args:
        con: a connection to the warehouse.
        model: the table.
        incremental: how it is updated by keys, if it is; otherwise it is replaced.
        log: what is logged about its own changed rows.
        full_checks: checks the whole table rather than the touched rows.

    Raises:
        DefinitionError: the SELECT does not fit the contract.
        BlockedError: a blocking check failed; the previous version stays.
    """
    if incremental is not None:
        return _update(con, incremental, log=log, full_checks=full_checks)
    assert model.table.sql is not None
    contract = model.contract
    _, behind = unseen(con, contract.table, model.reads, model.code_version)
    if behind is None or behind:
        return replace_table(
            con, contract, model.table.sql, code_version=model.code_version, log=log, reads=model.reads
        )
    with transaction(con):
        checks = tuple(check_table(con, contract)) if full_checks else ()
        return Written(count_rows(con, contract), 0, 0, 0, checks, changed=False)


def _update(
    con: DuckDBPyConnection, table: Incremental, *, log: Log | None = None, full_checks: bool = False
) -> Written:
    model, contract = table.model, table.contract
    assert model.table.sql is not None
    with transaction(con):
        now, behind = unseen(con, contract.table, model.reads, model.code_version)
        if behind is not None and behind:
            touched = _touch(con, table, behind)
            rows = count_rows(con, contract)
            if touched > max(1000, WHOLE_ABOVE * _keys(con, table)):
                behind = None
            elif touched:
                written = _recompute(con, table, log, full_checks=full_checks)
                record_seen(con, contract.table, now)
                return written
        if behind is not None:
            rows = count_rows(con, contract)
            record_seen(con, contract.table, now)
            return Written(rows, 0, 0, 0, tuple(check_table(con, contract)) if full_checks else (), changed=False)
    return replace_table(
        con, contract, model.table.sql, code_version=model.code_version, log=log, reads=model.reads, compare=False
    )


def _touch(con: DuckDBPyConnection, table: Incremental, behind: Mapping[str, int]) -> int:
    """Fills the temporary table `touched` with the keys that the unseen changes reach; how many there are."""
    selects = [
        f"select * from (with changed as (select * from ({changed_rows(name, since)}) as log) {table.touches(name)}) as t"
        for name, since in behind.items()
    ]
    not_null = " and ".join(f"{quote(c)} is not null" for c in table.contract.recompute_by)
    row = con.execute(
        f"create or replace temp table touched as select distinct * from ({' union all '.join(selects)}) as keys "
        f"({table.scope}) where {not_null}"
    ).fetchone()
    return int(row[0]) if row else 0


def _keys(con: DuckDBPyConnection, table: Incremental) -> int:
    row = con.execute(
        f"select approx_count_distinct({table.scope}) from {table.contract.table}"
        if len(table.contract.recompute_by) == 1
        else f"select count(*) from {table.contract.table}"
    ).fetchone()
    return int(row[0]) if row else 0


def _recompute(con: DuckDBPyConnection, table: Incremental, log: Log | None, *, full_checks: bool) -> Written:
    model, contract = table.model, table.contract
    assert model.table.sql is not None
    own = table.keeps[contract.table]
    inputs = {name: keep for name, keep in table.keeps.items() if name != contract.table}
    con.execute(
        f"create or replace temp table _new as select * from ({narrow(model.table.sql, inputs)}) as narrowed where {own}"
    )
    fits(con, contract, "select * from _new")
    con.execute(f"create or replace temp table _old as select rowid as _rowid, * from {contract.table} where {own}")
    difference = find_difference(con, contract, "_old", "_new")
    if difference.rows:
        apply_difference(con, contract, difference, model.code_version, log)
    results: Sequence[CheckResult] = (
        check_table(con, contract)
        if full_checks
        else check_rows(con, contract, lambda c: narrow(c.sql, {**table.keeps, **c.keep}), own)
    )
    rows = count_rows(con, contract)
    con.execute("drop table _new; drop table _old; drop table touched")
    return Written(
        rows, difference.inserted, difference.updated, difference.deleted, tuple(results), changed=bool(difference.rows)
    )


def narrow(sql: str, keeps: Mapping[str, str]) -> str:
    """The SELECT with each table of `keeps` replaced by its rows that meet the condition, all else as it is written.

    Only the table names are exchanged in the text, so that what runs is what the analyst wrote.
    """
    import sqlglot
    from sqlglot import exp

    spans: list[tuple[int, int, str]] = []
    for found in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table):
        name = f"{found.db}.{found.name}"
        if name not in keeps:
            continue
        start, end = found.args["db"].meta["start"], found.this.meta["end"] + 1
        alias = "" if found.alias else f" as {quote(found.name)}"
        spans.append((start, end, f"(select * from {name} where {keeps[name]}){alias}"))
    for start, end, text in sorted(spans, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql
