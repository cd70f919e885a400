"""One look at all that can be held against each other; how each thing is judged is in `amounts` and `texts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ecommerce_platform.quality.plausibility.amounts import look_at_amounts
from ecommerce_platform.quality.plausibility.finding import Plausibility, Rows
from ecommerce_platform.quality.plausibility.texts import look_at_texts
from ecommerce_platform.silver.mapping import CompiledMapping

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def look(
    con: DuckDBPyConnection, compiled: Mapping[str, Sequence[CompiledMapping]], currency: str, zone: str
) -> Plausibility:
    """What is not plausible in a source's figures, what was compared, and what could not be.

    Args:
        con: a connection with the bronze tables and the canonical entities; only temporary tables are written.
        compiled: entity → its mappings, of raw tables that are loaded.
        currency: the shop's, as ISO 4217 writes it.
        zone: the shop's time zone, an IANA name.
    """
    rows, found = Rows(con, compiled, currency, zone), Plausibility()
    look_at_amounts(rows, found)
    look_at_texts(rows, found)
    return found
