"""Gathered columns: values that come with every line of something else, such as a product's name on the lines sold.

Such a column's value is the newest that is there by a column of the record itself, of equally new ones the greatest: a
function of all accepted rows, whatever loads and files they came in. So that a load costs what it brings, a ledger per
mapping (schema `gathered`) keeps the best value of each key and load. What it says of one load is made of that load
alone; a load that is corrected or withdrawn has its part made anew, and the values follow from all parts. `entities.py`
and `history.py` say which rows are accepted and which load a row is from.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.silver.mapping import CompiledMapping, ordering
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCHEMA = "gathered"


def rebuild_ledger(con: DuckDBPyConnection, mapping: CompiledMapping, stage: str, *, keep_gone: bool) -> None:
    """Makes the ledger that of `stage`, the accepted rows of all loads with what orders their values.

    Args:
        con: a connection to the warehouse, inside a transaction.
        mapping: the mapping with gathered columns.
        stage: the accepted rows.
        keep_gone: whether keys that a load no longer names stay noted for the history, until it calls `history_follows`.
    """
    con.execute(f"create schema if not exists {_SCHEMA}")
    parts = _parts(mapping, f"select * from {stage}")
    if keep_gone and _fits(con, mapping):
        con.execute(f"create or replace temp table _parts as {parts}")
        con.execute(f"insert into _parts by name {_gone(mapping, 'true')}")
        parts = "select * from _parts"
    con.execute(f"create or replace table {_ledger(mapping)} as {parts}")
    con.execute("drop table if exists _parts")


def renew_loads(con: DuckDBPyConnection, mapping: CompiledMapping, stage: str, loads: str, *, keep_gone: bool) -> None:
    """Makes the ledger's part of `loads` (a condition) that of `stage`, and leaves in the temporary table
    `_gathered_keys` the keys whose values that may change: those that the loads name or named."""
    key = _key(mapping)
    con.execute(f"create or replace temp table _parts as {_parts(mapping, f'select * from {stage}')}")
    con.execute(
        f"create or replace temp table _gathered_keys as select {key} from _parts "
        f"union select {key} from {_ledger(mapping)} where {loads}"
    )
    if keep_gone:
        con.execute(f"insert into _parts by name {_gone(mapping, loads)}")
    con.execute(f"delete from {_ledger(mapping)} where {loads}")
    con.execute(f"insert into {_ledger(mapping)} by name select * from _parts")
    con.execute("drop table _parts")


def fill_in(con: DuckDBPyConnection, mapping: CompiledMapping, stage: str) -> None:
    """Gives the rows of `stage`, one per key and each of the key's newest load, their gathered values."""
    key = _key(mapping)
    if mapping.delivery == "full":
        # Each delivery is the whole table: what older ones said does not count.
        values = f"select * from {_ledger(mapping)}"
    else:
        best = ", ".join(f"{_best(c, c)} as {c}" for c in map(quote, mapping.gathered))
        values = f"select {key}, {best} from {_ledger(mapping)} where ({key}) in (select ({key}) from {stage}) group by {key}"
    _join(con, mapping, stage, values, on_load="_load_date" if mapping.delivery == "full" else None)


def fill_in_as_of(con: DuckDBPyConnection, mapping: CompiledMapping, states: str, days: Collection[date]) -> None:
    """Gives the rows of `states`, of any load in their column `_day`, the values that the loads among `days` up to that
    one give."""
    key, columns = _key(mapping), [quote(c) for c in mapping.gathered]
    counted = ", ".join(f"date '{day.isoformat()}'" for day in sorted(days))
    if mapping.delivery == "full":
        values = f"select * from {_ledger(mapping)}"
    else:
        so_far = ", ".join(f"{_best(c, c)} over w as {c}" for c in columns)
        values = (
            f"select {key}, _load_date, {so_far} from {_ledger(mapping)} where _load_date in ({counted}) "
            f"and ({key}) in (select ({key}) from {states}) window w as (partition by {key} order by _load_date)"
        )
    _join(con, mapping, states, values, on_load="_day")


def named_in(mapping: CompiledMapping, loads: str) -> str:
    """SELECT of the keys that `loads` (a condition) name, or named before they changed."""
    return f"select {_key(mapping)} from {_ledger(mapping)} where {loads}"


def history_follows(con: DuckDBPyConnection, mapping: CompiledMapping) -> None:
    """Forgets which keys loads no longer name, once the history is in step with all loads."""
    if table_exists(con, _SCHEMA, f"{mapping.contract.name}.{mapping.raw_table}"):
        con.execute(f"delete from {_ledger(mapping)} where _gone")


def drop_others(con: DuckDBPyConnection, entity: str, mappings: Collection[CompiledMapping]) -> None:
    """Drops an entity's ledgers that no mapping has any more."""
    kept = {m.raw_table for m in mappings if m.gathered}
    rows = con.execute(
        "select table_name from information_schema.tables where table_schema = ? and starts_with(table_name, ?)",
        [_SCHEMA, f"{entity}."],
    ).fetchall()
    for (name,) in rows:
        if name.partition(".")[2] not in kept:
            con.execute(f"drop table {_SCHEMA}.{quote(name)}")


def _join(con: DuckDBPyConnection, mapping: CompiledMapping, rows: str, values: str, *, on_load: str | None) -> None:
    same = [f"s.{quote(k)} = v.{quote(k)}" for k in mapping.contract.key]
    same += [f"s.{on_load} = v._load_date"] if on_load else []
    filled = ", ".join(f"v.{quote(c)} as {quote(c)}" for c in mapping.gathered)
    con.execute(
        f"create or replace temp table _filled as select s.* replace ({filled}) from {rows} as s "
        f"left join ({values}) as v on {' and '.join(same)}"
    )
    con.execute(f"create or replace temp table {rows} as select * from _filled")
    con.execute("drop table _filled")


def _parts(mapping: CompiledMapping, rows: str) -> str:
    """SELECT of the ledger's rows for accepted rows: per key and load the best value of each column and what orders it."""
    best = ", ".join(
        f"{_best(quote(c), wanted)} as {wanted}" for c in mapping.gathered for wanted in (quote(c), ordering(c))
    )
    return (
        f"select {_key(mapping)}, _load_date, false as _gone, {best} from ({rows}) as r "
        f"where _raw_table = '{mapping.raw_table}' group by {_key(mapping)}, _load_date"
    )


def _best(column: str, wanted: str) -> str:
    """Aggregate: of the rows where `column` has a value, `wanted` of the one that is newest, then greatest."""
    by = ordering(column.strip('"'))
    # A row without what orders it is older than all others.
    return f"arg_max({wanted}, row({by} is not null, {by}, {column})) filter (where {column} is not null)"


def _gone(mapping: CompiledMapping, loads: str) -> str:
    """SELECT of what the ledger's `loads` named and `_parts` does not, without values."""
    key = ", ".join([*map(quote, mapping.contract.key), "_load_date"])
    return f"select {key}, true as _gone from {_ledger(mapping)} where {loads} and ({key}) not in (select ({key}) from _parts)"


def _fits(con: DuckDBPyConnection, mapping: CompiledMapping) -> bool:
    name = f"{mapping.contract.name}.{mapping.raw_table}"
    return table_exists(con, _SCHEMA, name) and set(mapping.contract.key) <= set(column_types(con, _ledger(mapping)))


def _ledger(mapping: CompiledMapping) -> str:
    return f"{_SCHEMA}.{quote(f'{mapping.contract.name}.{mapping.raw_table}')}"


def _key(mapping: CompiledMapping) -> str:
    return ", ".join(map(quote, mapping.contract.key))
