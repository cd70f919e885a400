"""Whether what a decision says it was made from is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from duckdb import DuckDBPyConnection

    from ecommerce_platform.decisions.recommendation import Decided


def rests_on_rows(con: DuckDBPyConnection, found: Decided, reads: Collection[str]) -> bool:
    """Whether it names rows, of tables that it may read, that there are, and says what it takes for granted."""
    parts = [part.partition(" where ")[0] for part in found.made_from]
    empty = {
        p for p, part in zip(parts, found.made_from, strict=True) if not con.execute(f"from {part} limit 1").fetchall()
    }
    # A record that is nobody else's needs no row there.
    empty -= {"silver.customer_identities"}
    return bool(parts) and set(parts) <= set(reads) and not empty and bool(found.assumptions)
