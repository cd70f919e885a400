"""The check that a first load's figures are plausible: what `ecommerce check-source` says of files, said of what was built.

It warns and never blocks. Examples are left out, for outcomes of checks are kept and may show keys only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.source import SourceFile
from ecommerce_platform.quality.plausibility.look import look
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.load_checks import Check, LoadCheck
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PLAUSIBLE = Check(
    "figures_are_plausible",
    "What can be compared agrees: lines with their orders' totals, payments with orders, ids, times and words of status. Looked at "
    "when a source is loaded for the first time, and again when a mapping of it has changed.",
)
#: The first table that is made from orders, their lines and payments alike.
_TABLE = "gold.fct_orders"


def declared_checks(contract: Contract) -> list[Check]:
    """The check, on the table that is made once all that is compared has been loaded."""
    return [PLAUSIBLE] if contract.table == _TABLE else []


def load_checks(
    con: DuckDBPyConnection,
    contract: Contract,
    written: Written,
    compiled: Mapping[str, Sequence[CompiledMapping]],
    file: SourceFile,
) -> list[LoadCheck]:
    """The outcome of the check; none on a table without it, or one that was not made anew.

    Args:
        con: the warehouse; only temporary tables of a cursor of its own are written.
        contract: of the table.
        written: what has just been done to it.
        compiled: entity → its mappings.
        file: the shop's source.yml.
    """
    if not (written.anew and declared_checks(contract)):
        return []
    kept = {entity: mappings for entity, mappings in compiled.items() if mappings}
    with con.cursor() as cursor:
        found = look(cursor, kept, file.currency, file.time_zone)
    compared = [
        f"{c.what}: {c.orders:,} orders compared, {c.off:,} off ({c.money_off:,.2f} in all)" for c in found.compared
    ]
    return [
        LoadCheck(
            PLAUSIBLE.name,
            [f"{doubt.where}: {doubt.what} → {doubt.fix}" for doubt in found.doubts],
            told=[*compared, *(f"not compared: {what}" for what in found.not_compared)],
            numbers={
                "doubts": len(found.doubts),
                "orders_compared": max((c.orders for c in found.compared), default=0),
                "orders_off": max((c.off for c in found.compared), default=0),
            },
            title="compared",
            columns=("figures", "orders", "off", "money off"),
            rows=[(c.what, c.orders, c.off, f"{c.money_off:,.2f}") for c in found.compared],
        )
    ]
