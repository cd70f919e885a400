"""Checks on what loads brought to an entity: whether deliveries were usable and whole, rejects within limits, and every row
that a mapping leaves out meant. What becomes of rows is decided where they are loaded, in `entities`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.silver.entities import EntityLoad, contradicting_loads, loads_set_aside, shrunk_deliveries
from ecommerce_platform.silver.left_out import left_out, undeclared
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.silver.overlaps import overlaps
from ecommerce_platform.warehouse.load_checks import Check, LoadCheck

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

USABLE = Check(
    "deliveries_usable",
    "Every full delivery had at least one usable row; one that had none leaves the previous in force.",
)
WHOLE = Check(
    "deliveries_whole",
    "The full delivery in force has at least half of the rows of the one before it: what it lacks is gone.",
)
WITHIN_LIMITS = Check(
    "rejects_within_limits",
    "No load had more of its rows rejected than its raw table's max_rejected_share. One that had is set aside: none of its "
    "rows is used, all stand in silver.rejects, and the versions before stay in force.",
)
ONE_VERSION = Check(
    "one_version_per_load",
    "No load delivers more than two in a hundred keys (and two) twice with different values. Of the versions, the last by file "
    "and record counts.",
)
NO_OVERLAP = Check(
    "files_do_not_overlap",
    "No line of a unit (an order, say) stands in two files of one load, column for column: exports that overlap. A mapping that "
    "numbers lines within a file counts it once.",
)
MEANT = Check(
    "rows_left_out_are_meant",
    "What a mapping's WHERE or QUALIFY drops, no other mapping of the entity takes. Where that is meant, source.yml says why "
    "(left_out).",
)


def declared_checks(contract: Contract, mappings: Sequence[CompiledMapping]) -> list[Check]:
    """The checks there are on an entity with these mappings."""
    return [
        *((USABLE, WHOLE) if any(m.delivery == "full" for m in mappings) else ()),
        *((WITHIN_LIMITS, ONE_VERSION) if mappings else ()),
        *((NO_OVERLAP,) if any(m.version_key != contract.key for m in mappings) else ()),
        *((MEANT,) if any(m.filters for m in mappings) else ()),
    ]


def load_checks(
    con: DuckDBPyConnection, contract: Contract, mappings: Sequence[CompiledMapping], loaded: EntityLoad
) -> list[LoadCheck]:
    """The outcome of each declared check after a load; none where nothing was loaded.

    Args:
        con: the warehouse.
        contract: of the entity.
        mappings: of the entity.
        loaded: what the load did.
    """
    if not loaded.loads:
        return []
    ask = {
        USABLE.name: lambda: LoadCheck(USABLE.name, loaded.problems, "block"),
        WHOLE.name: lambda: LoadCheck(
            WHOLE.name, shrunk_deliveries(con, contract.name, [m.raw_table for m in mappings if m.delivery == "full"])
        ),
        WITHIN_LIMITS.name: lambda: LoadCheck(WITHIN_LIMITS.name, loads_set_aside(con, contract.name), "block"),
        ONE_VERSION.name: lambda: LoadCheck(ONE_VERSION.name, contradicting_loads(con, contract.name)),
        NO_OVERLAP.name: lambda: LoadCheck(NO_OVERLAP.name, overlaps(con, contract.name, mappings)),
        MEANT.name: lambda: _meant(con, [m for m in mappings if m.filters]),
    }
    return [ask[check.name]() for check in declared_checks(contract, mappings)]


def _meant(con: DuckDBPyConnection, filters: Sequence[CompiledMapping]) -> LoadCheck:
    told = [f"{said}. source.yml says why: {m.left_out}" for m in filters if m.left_out and (said := left_out(con, m))]
    return LoadCheck(MEANT.name, undeclared(con, filters), told=told)
