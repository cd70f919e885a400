"""Reading the model registry, `ml.models`. Training writes it; nothing here trains or loads a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def current_version(con: DuckDBPyConnection, model: str) -> dict[str, Any]:
    """The registry's row of the newest version of a model.

    Raises:
        InputError: the model has not been trained.
    """
    if row := newest_version(con, model):
        return row
    raise InputError(f"the model {model!r} has not been trained", fix="run `ecommerce build` first")


def newest_version(con: DuckDBPyConnection, model: str) -> dict[str, Any] | None:
    """The registry's row of the newest version of a model; None if it has not been trained."""
    if table_exists(con, "ml", "models"):
        found = con.execute("select * from ml.models where model = ? order by version desc limit 1", [model])
        names = [column[0] for column in found.description or ()]
        for row in found.fetchall():
            return dict(zip(names, row, strict=True))
    return None
