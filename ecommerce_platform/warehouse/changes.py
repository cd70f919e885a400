"""The ledger of versions: which state every table is in, what changed since, and who has seen it.

Every write of a table gives it a new version in the same transaction, so the ledger can never disagree with the
tables, whatever kills a run. Tables that others follow row by row also keep a log of the keys that changed; a
follower reads what it has not seen yet, in any order of loads and however many runs that takes. How a follower
turns changed keys into changed rows is in `incremental.py`; nothing here knows a model.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.remembered import remembered
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LEDGER = """
create schema if not exists changes;
create table if not exists changes.versions (
    table_name varchar, version bigint, whole_version bigint, code_version varchar, changed_at timestamp);
create table if not exists changes.seen (follower varchar, table_name varchar, version bigint);
"""
#: A log that has grown beyond this many rows is given up: its followers are built anew, which is then cheaper.
LONGEST_LOG = 5_000_000


@cache
def own_code(file: str) -> str:
    """What a file says; if it is Python a digest of it without comments, docstrings and imports of the package's own names: it
    changes when what is done changes, not when a module gets another place.

    Read once per process: a file changed during a run must not count as applied.
    """
    text = Path(file).read_text(encoding="utf-8")
    if not file.endswith(".py"):
        return text
    return str(remembered(text, f"own code {sys.version_info[:2]}", __file__, lambda: _said(text)))


def _said(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
            node.body = [statement for statement in node.body if _does_something(statement)]
    return sha256(ast.dump(tree).encode()).hexdigest()


def _does_something(statement: ast.stmt) -> bool:
    """Whether a statement is neither a docstring nor an import from this package."""
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").partition(".")[0] != __package__.partition(".")[0]
    return not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


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


@dataclass(frozen=True)
class Log:
    """What is kept about the changed rows of a table: `columns`, as they were and as they are, for these followers.

    A change in no `watched` column is none to them.
    """

    columns: tuple[str, ...]
    watched: frozenset[str]
    followers: tuple[str, ...]


def table_versions(con: DuckDBPyConnection) -> dict[str, TableVersion]:
    """The version of every table that was ever written, by `schema.table`; empty for a warehouse without a ledger."""
    if not table_exists(con, "changes", "versions"):
        return {}
    rows = con.execute(
        "select table_name, version, whole_version, code_version, changed_at from changes.versions"
    ).fetchall()
    return {name: TableVersion(*rest) for name, *rest in rows}


def seen_versions(con: DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """For every table that was made from others: the version of each of them that it was made from."""
    if not table_exists(con, "changes", "seen"):
        return {}
    found: dict[str, dict[str, int]] = {}
    for follower, table, version in con.execute("select follower, table_name, version from changes.seen").fetchall():
        found.setdefault(follower, {})[table] = version
    return found


def behind(con: DuckDBPyConnection) -> dict[str, list[str]]:
    """Tables that were made from an older version of another table than that one now has, with those others.

    In the middle of a run some are; with runs side by side that may be another run than one's own.
    """
    versions = table_versions(con)
    late = {
        table: sorted(i for i, version in seen.items() if i in versions and versions[i].version > version)
        for table, seen in sorted(seen_versions(con).items())
    }
    return {table: inputs for table, inputs in late.items() if inputs}


def upstream_in_step(con: DuckDBPyConnection, tables: Iterable[str]) -> bool:
    """Whether none of these tables, and of all that they were made from, is behind what it was made from."""
    seen, late = seen_versions(con), behind(con)
    waiting, done = list(tables), set()
    while waiting:
        table = waiting.pop()
        if table in late:
            return False
        if table not in done:
            done.add(table)
            waiting.extend(seen.get(table, ()))
    return True


def prepare_ledger(con: DuckDBPyConnection) -> None:
    """Makes the ledger exist."""
    con.execute(_LEDGER)


def record_change(
    con: DuckDBPyConnection, table: str, code_version: str = "", *, whole: bool = True, log: Log | None = None
) -> int:
    """Gives `table` a new version; call it in the transaction that changes the table.

    Args:
        con: a connection to the warehouse, inside a transaction.
        table: `schema.table`.
        code_version: of the definition that the table was written with.
        whole: the changed keys are not logged (or there are too many): followers build themselves anew.
        log: what is logged for this table, if anything; without `whole`, `log_rows` must follow.
    """
    prepare_ledger(con)
    row = con.execute("select version, whole_version from changes.versions where table_name = ?", [table]).fetchone()
    version = max(time.time_ns() // 1000, row[0] + 1 if row else 0)
    whole_version = version if whole or row is None else row[1]
    if log and not whole:
        if not _log_fits(con, table, log):
            whole_version = version
            con.execute(f"create or replace table {_log(table)} as {_empty_log(table, log)}")
        else:
            _forget_seen(con, table, log)
    elif log and whole:
        con.execute(f"create or replace table {_log(table)} as {_empty_log(table, log)}")
    # Deleted and inserted rather than updated: an update in place of a row that this transaction wrote is slower.
    con.execute("delete from changes.versions where table_name = ?", [table])
    con.execute(
        "insert into changes.versions values (?, ?, ?, ?, cast(timezone('UTC', now()) as timestamp))",
        [table, version, whole_version, code_version],
    )
    return version


def record_definition(con: DuckDBPyConnection, table: str, code_version: str) -> None:
    """Notes that `table`, unchanged as it is, is what this definition gives: no new version, for nobody has to follow."""
    con.execute(
        "update changes.versions set code_version = ? where table_name = ? and code_version is distinct from ?",
        [code_version, table, code_version],
    )


def log_rows(con: DuckDBPyConnection, table: str, version: int, rows: str) -> None:
    """Adds to the table's log the result of `rows`, a SELECT of the log's columns."""
    con.execute(f"insert into {_log(table)} select {version}, * from ({rows}) as changed_rows")


def record_seen(con: DuckDBPyConnection, follower: str, versions: Mapping[str, int]) -> None:
    """Notes that `follower` was made from these versions of these tables."""
    prepare_ledger(con)
    con.execute("delete from changes.seen where follower = ?", [follower])
    if versions:
        con.execute(
            "insert into changes.seen select ?, unnest(?::varchar[]), unnest(?::bigint[])",
            [follower, list(versions), list(versions.values())],
        )


def changed_rows(table: str, since: int) -> str:
    """SELECT of the log's rows that a follower who has seen the version `since` has not seen yet."""
    return f"select * exclude (_version) from {_log(table)} where _version > {since}"


def unseen(
    con: DuckDBPyConnection, follower: str, tables: Iterable[str], code_version: str, *, kept_in: str | None = None
) -> tuple[dict[str, int], dict[str, int] | None]:
    """What a table made from others has to catch up with.

    Args:
        con: a connection to the warehouse.
        follower: the table.
        tables: those that it is made from.
        code_version: of its definition.
        kept_in: the table that holds what was made, where that is not `follower` itself.

    Returns:
        The versions that the tables have now (those without one are left out), and table → version last seen for
        each that changed since. None instead: it must be built whole, because it never was or is gone, its definition changed,
        it reads something else than before (or something without versions), or a table was replaced whole.
    """
    versions, wanted = table_versions(con), set(tables)
    now = {table: versions[table].version for table in wanted if table in versions}
    mine = versions.get(follower)
    if mine is None or mine.code_version != code_version or len(now) < len(wanted):
        return now, None
    if not table_exists(con, *(kept_in or follower).split(".", 1)):  # the ledger outlives a table that somebody dropped
        return now, None
    rows = con.execute("select table_name, version from changes.seen where follower = ?", [follower]).fetchall()
    seen: dict[str, int] = dict(rows)
    if seen.keys() != now.keys():
        return now, None
    behind = {table: seen[table] for table, version in now.items() if version != seen[table]}
    if any(since < versions[table].whole_version for table, since in behind.items()):
        return now, None
    return now, behind


def made_within(con: DuckDBPyConnection, table: str, code_version: str, age: timedelta) -> bool:
    """Whether `table` was made with this definition no longer than `age` ago."""
    mine = table_versions(con).get(table)
    now = datetime.now(UTC).replace(tzinfo=None)
    return mine is not None and mine.code_version == code_version and now - mine.changed_at < age


def forget_seen(con: DuckDBPyConnection, logs: Mapping[str, Log]) -> list[str]:
    """Drops from all logs what their followers have seen, which else waits for the table's next change.

    Returns:
        Tables whose logs still hold something, because a follower has not seen it yet.
    """
    left = []
    for table, log in logs.items():
        if table_exists(con, "changes", table):
            _forget_seen(con, table, log)
            row = con.execute(f"select count(*) from {_log(table)}").fetchone()
            if row and row[0]:
                left.append(table)
    return left


def _forget_seen(con: DuckDBPyConnection, table: str, log: Log) -> None:
    """Drops what every follower has seen; one that was never built starts whole and needs no log."""
    con.execute(
        f"delete from {_log(table)} where _version <= "
        "(select coalesce(min(version), 9223372036854775807) from changes.seen where table_name = ? and follower in "
        "(select unnest(?::varchar[])))",
        [table, list(log.followers)],
    )


def _log_fits(con: DuckDBPyConnection, table: str, log: Log) -> bool:
    if not table_exists(con, "changes", table) or list(column_types(con, _log(table))) != ["_version", *log.columns]:
        return False
    row = con.execute(f"select count(*) from {_log(table)}").fetchone()
    return bool(row and row[0] < LONGEST_LOG)


def _empty_log(table: str, log: Log) -> str:
    schema, name = table.split(".", 1)
    columns = ", ".join(quote(c) for c in log.columns)
    return f"select cast(0 as bigint) as _version, {columns} from {schema}.{quote(name)} where false"


def _log(table: str) -> str:
    return f"changes.{quote(table)}"
