"""One transaction as a `with` block; nothing else lives here.

What is written inside belongs in the modules that write. Retrying and waiting for locks belong where
connections are opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def transaction(con: DuckDBPyConnection) -> Iterator[None]:
    """Commits what the block does on `con`, or, whatever ends the block early, none of it.

    A keyboard interrupt and a generator that is closed roll back as an error does. DuckDB has no nested
    transactions: a second `with transaction(con)` inside is an error that ends the outer one too.
    """
    con.begin()
    try:
        yield
        con.commit()
    except BaseException:
        # After some errors DuckDB has already ended the transaction; that must not hide the error itself.
        with suppress(Exception):
            con.rollback()
        raise
