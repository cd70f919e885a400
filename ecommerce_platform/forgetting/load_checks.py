"""The check that nobody who was forgotten comes back with a load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.forgetting.ledger import read_tombstones
from ecommerce_platform.forgetting.persons import returned
from ecommerce_platform.warehouse.load_checks import Check, LoadCheck

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NOBODY_BACK = Check(
    "no_forgotten_person_returns",
    "No system of the shop delivers personal data of somebody who was forgotten (docs/personal-data.md).",
)


def declared_checks(contract: Contract) -> list[Check]:
    """The check, on the entity whose records are persons."""
    return [NOBODY_BACK] if contract.table == "silver.customers" else []


def load_checks(con: DuckDBPyConnection, contract: Contract, data: Path) -> list[LoadCheck]:
    """The outcome of the check, where it is declared.

    Args:
        con: the warehouse.
        contract: of the entity.
        data: the data folder, which holds the tombstones.
    """
    if not declared_checks(contract):
        return []
    back = returned(con, contract, read_tombstones(data))
    shown = ", ".join(back[:5]) + (" …" if len(back) > 5 else "")
    said = (
        f"{len(back):,} customer records of forgotten persons were delivered again with personal data ({shown}): have them "
        f"deleted in the system that delivers them, then run `ecommerce forget {back[0]}` again"
        if back
        else ""
    )
    return [LoadCheck(NOBODY_BACK.name, [said] if said else [], numbers={"records": len(back)})]
