"""What an engine does for those above it; how, each engine knows itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.warehouse.contract_checks import CheckResult
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Differing:
    """How the rows of a SELECT differ from those of a table, by key."""

    inserted: int
    updated: int
    deleted: int


class Engine(Protocol):
    """Runs SELECTs over tables, and makes tables of them. SELECTs are DuckDB's SQL, in the portable subset."""

    def replace(self, contract: Contract, select: str) -> Written:
        """Makes the table hold exactly the rows of `select`, if its checks pass; else the previous version stays.

        Raises:
            DefinitionError: the SELECT's columns are not the contract's.
            BlockedError: a blocking check failed.
        """

    def upsert(self, contract: Contract, select: str) -> Written:
        """Replaces rows by key with those of `select` and adds the new ones; the same checks, the same errors."""

    def difference(self, contract: Contract, select: str) -> Differing:
        """How the rows of `select` differ from the table's; nothing is written."""

    def arrow(self, select: str) -> pa.RecordBatchReader:
        """The rows of `select`, batch by batch: never all of them in memory at once."""

    def checks(self, contract: Contract) -> list[CheckResult]:
        """Asks the contract's rules of the table as it is.

        Raises:
            BlockedError: a blocking one failed.
        """
