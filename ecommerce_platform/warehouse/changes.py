"""The ledger of versions: which state every table is in, what changed since, and who has seen it.

Every write of a table gives it a new version in the same transaction, so the ledger can never disagree with the
tables, whatever kills a run. Tables that others follow row by row also keep a log of the keys that changed; a
follower reads what it has not seen yet, in any order of loads and however many runs that takes. How a follower
turns changed keys into changed rows is `incremental.py`'s business; nothing here knows a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LEDGER = """
create schema if not exists changes;
create table if not exists changes.versions (
    table_name varchar primary key, version bigint, whole_version bigint, code_version varchar, changed_at timestamp);
create table if not exists changes.seen (
    follower varchar, table_name varchar, version bigint, primary key (follower, table_name));
"""


@dataclass(frozen=True)
class TableVersion:
    """The state a table is in.

    `version` grows with every change and never repeats, not even in a warehouse built anew. A follower that has seen
    less than `whole_version` cannot catch up by keys. `code_version` is that of the definition it was written with.
    """

    version: int
    whole_version: int
    code_version: str
    changed_at: datetime


def table_versions(con: DuckDBPyConnection) -> dict[str, TableVersion]:
    """The version of every table that was ever written, by `schema.table`; empty for a warehouse without a ledger."""
    if not _exists(con):
        return {}
    rows = con.execute(
        "select table_name, version, whole_version, code_version, changed_at from changes.versions"
    ).fetchall()
    return {name: TableVersion(*rest) for name, *rest in rows}


def seen_versions(con: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """For every table that was made from others: the version of each of them that it was made from."""
    if not _exists(con):
        return {}
    found: dict[str, dict[str, int]] = {}
    for follower, table, version in con.execute("select follower, table_name, version from changes.seen").fetchall():
        found.setdefault(follower, {})[table] = version
    return found


def _exists(con: DuckDBPyConnection) -> bool:
    row = con.execute(
        "select count(*) from duckdb_tables() where schema_name = 'changes' and table_name = 'versions'"
    ).fetchone()
    return bool(row and row[0])
