"""What decisions read of the warehouse: SELECTs in `models/inputs`, a file each, by their names.

A decision's module names in `SELECTS` the files that it runs: they count as its code, so that a changed one makes the decision anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.warehouse.changes import own_code

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


def select_file(name: str) -> Path:
    """The file of a SELECT."""
    return MODELS / "inputs" / f"{name}.sql"


def rows_of(con: DuckDBPyConnection, name: str, **values: object) -> DuckDBPyRelation:
    """What a SELECT gives; `values` are those of its `$names`."""
    parameters: dict[str, Any] = {"params": values} if values else {}
    return con.sql(own_code(str(select_file(name))), **parameters)
