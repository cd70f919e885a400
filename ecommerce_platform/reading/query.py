"""Asking a published snapshot in SQL that anybody may have written: one SELECT, within limits of time and memory.

The connection is one of `open_snapshot`: it reaches the snapshot's own files and nothing else. Here is what that does not
give: a statement that is no SELECT (COPY could write over a file that may be read), changes of what is in memory, and a
query without end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError, LimitError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Longest query that is looked at, in characters.
LONGEST = 100_000
#: Seconds between two attempts to interrupt.
_AGAIN = 0.1
#: Seconds after which a query that goes on in spite of being interrupted is given up (some functions don't listen).
GRACE = 5.0


@dataclass(frozen=True)
class Rows:
    """The answer to a query: its columns, and its rows as they are fetched."""

    columns: tuple[str, ...]
    #: DuckDB's types, as text.
    types: tuple[str, ...]
    #: Gives up to so many more rows; none when all were given.
    fetch: Callable[[int], list[tuple[Any, ...]]]


@contextmanager
def ask(
    con: DuckDBPyConnection,
    sql: str,
    *,
    seconds: float,
    stuck: Callable[[], None] | None = None,
    stop: Event | None = None,
) -> Iterator[Rows]:
    """Runs one SELECT on an open snapshot; its rows are fetched until the block ends, all within the time.

    Args:
        con: of `open_snapshot`, used for nothing else meanwhile.
        sql: one SELECT (also DESCRIBE, SHOW and SUMMARIZE, which DuckDB reads as SELECTs).
        seconds: how long all of it may take.
        stuck: called `GRACE` seconds after that if the query does not end although it was interrupted.
        stop: once it is set, the query is interrupted before its time.

    Raises:
        InputError: it is not one SELECT, does not run, or reaches for what is not in the snapshot; a LimitError where it
            takes too long or too much memory, or was stopped.
    """
    _one_select(con, sql)
    with _limit(con, seconds, stuck, stop) as over:

        def run(step: Callable[[], Any]) -> Any:
            if over():
                raise _too_long(seconds)
            return _explained(step, seconds)

        run(lambda: con.execute("begin transaction read only"))
        try:
            found = run(lambda: con.execute(sql))
            about = found.description or ()
            yield Rows(
                tuple(str(c[0]) for c in about),
                tuple(str(c[1]) for c in about),
                lambda n: run(lambda: found.fetchmany(n)),
            )
        finally:
            _end(con)


def _end(con: DuckDBPyConnection) -> None:
    import duckdb

    with suppress(duckdb.Error):  # interrupted once more; the connection is closed next
        con.execute("rollback")


def _one_select(con: DuckDBPyConnection, sql: str) -> None:
    import duckdb

    if len(sql) > LONGEST:
        raise InputError(f"the query has {len(sql):,} characters; up to {LONGEST:,} are looked at")
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise _refused(error) from None
    kinds = [statement.type.name for statement in statements]
    if kinds == ["SELECT"]:
        return
    said = f"this is {' and '.join(kinds)}" if len(kinds) == 1 else f"there are {len(kinds)} statements"
    # PIVOT without its values is several statements to DuckDB.
    fix = "list the values: pivot … on … in (…)" if kinds == ["MULTI"] else "write one SELECT; nothing else runs here"
    raise InputError(f"a query is exactly one SELECT, {said}", fix=fix)


def _explained(step: Callable[[], Any], seconds: float) -> Any:
    import duckdb

    try:
        return step()
    except duckdb.InterruptException:
        raise _too_long(seconds) from None
    except duckdb.PermissionException as error:
        raise InputError(
            f"queries reach the tables of the snapshot and nothing else: {_said(error)}",
            fix="`ecommerce status` lists the tables",
        ) from None
    except duckdb.OutOfMemoryException as error:
        raise LimitError(
            f"the query needs more memory than it may use: {_said(error)}",
            where="ECOMMERCE_MEMORY_LIMIT",
            fix="ask for less, or set it higher",
        ) from None
    except duckdb.Error as error:
        raise _refused(error) from None


def _refused(error: Exception) -> InputError:
    return InputError(f"the query does not run: {error}", fix="`ecommerce status` lists the tables")


def _said(error: Exception) -> str:
    return str(error).splitlines()[0]


def _too_long(seconds: float) -> LimitError:
    return LimitError(
        f"the query was stopped after {seconds:g} s",
        where="ECOMMERCE_QUERY_SECONDS",
        fix="ask for less, or set it higher",
    )


@contextmanager
def _limit(
    con: DuckDBPyConnection, seconds: float, stuck: Callable[[], None] | None, stop: Event | None
) -> Iterator[Callable[[], bool]]:
    """Interrupts whatever runs on the connection once the time is up or it is stopped; gives what tells whether it is."""
    ended, end = Event(), monotonic() + seconds

    def over() -> bool:
        return monotonic() >= end or bool(stop and stop.is_set())

    def watch() -> None:
        while not over():
            if ended.wait(_AGAIN if stop else seconds):
                return
        # Again and again: one interrupt only stops the statement that is running.
        while not ended.wait(_AGAIN):
            con.interrupt()
            if stuck and monotonic() > end + GRACE:
                stuck()

    thread = Thread(target=watch, name="query limit", daemon=True)
    thread.start()
    try:
        yield over
    finally:
        ended.set()
        thread.join()
