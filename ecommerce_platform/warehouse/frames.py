"""Frames that Python worked out, as relations that a SELECT reads. How their rows become a table is in `write.py`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection


@contextmanager
def handed_in(con: DuckDBPyConnection, **frames: pl.DataFrame) -> Iterator[None]:
    """Lets SELECTs read frames by these names, until the block ends."""
    try:
        for name, frame in frames.items():
            con.register(name, frame.to_arrow())
        yield
    finally:
        for name in frames:
            con.unregister(name)


def typed(contract: Contract, relation: str) -> str:
    """The SELECT of a relation's columns with the types that a contract gives them."""
    columns = (f"cast({quote(n)} as {c.type}) as {quote(n)}" for n, c in contract.columns.items())
    return f"select {', '.join(columns)} from {relation}"
