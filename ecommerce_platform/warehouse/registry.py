"""Reading the model registry, `ml.models`, and which version of a model is in force.

That is the pinned version (the newest row of `ml.model_pins` about the model names one), else the newest one. Training
writes the registry; nothing here trains or loads a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def current_version(con: DuckDBPyConnection, model: str) -> dict[str, Any]:
    """The registry's row of the version of a model that is in force.

    Raises:
        InputError: the model has not been trained, or the pinned version is not in the registry.
    """
    pinned = pinned_version(con, model)
    if row := version_row(con, model, pinned) if pinned else newest_version(con, model):
        return row
    if pinned:
        raise InputError(
            f"version {pinned} of {model}, which is pinned, is not in the registry",
            where="ml.models",
            fix=f"run `ecommerce models promote {model} newest`",
        )
    raise InputError(f"the model {model!r} has not been trained", fix="run `ecommerce build` first")


def newest_version(con: DuckDBPyConnection, model: str) -> dict[str, Any] | None:
    """The registry's row of the newest version of a model; None if it has not been trained."""
    return next(iter(all_versions(con, model)), None)


def version_row(con: DuckDBPyConnection, model: str, version: str) -> dict[str, Any] | None:
    """The registry's row of one version; None if there is none."""
    return next((row for row in all_versions(con, model) if row["version"] == version), None)


def all_versions(con: DuckDBPyConnection, model: str | None = None) -> list[dict[str, Any]]:
    """The registry's rows of a model, or of all, the newest first within a model."""
    if not table_exists(con, "ml", "models"):
        return []
    found = con.execute(
        "select * from ml.models where ? is null or model = ? order by model, trained_at desc, version desc",
        [model, model],
    )
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def pinned_version(con: DuckDBPyConnection, model: str) -> str | None:
    """The version that somebody has chosen for a model; None where the newest is in force."""
    if not table_exists(con, "ml", "model_pins"):
        return None
    rows = con.execute(
        "select version from ml.model_pins where model = ? order by change desc limit 1", [model]
    ).fetchall()
    return rows[0][0] if rows else None
