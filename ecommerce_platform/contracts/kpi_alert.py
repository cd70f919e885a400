"""When a KPI is worth a message: what `alerts:` in `source.yml` may say.

Whether a figure is out of bounds is found out in `quality/kpi_alerts.py`, who is told in `automation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ecommerce_platform.contracts.contract import Column, Contract, Strict
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.contracts.yaml_file import line_of
from ecommerce_platform.errors import DefinitionError


class KpiAlert(Strict):
    """A bound that a KPI is expected to keep, or a SELECT that returns rows when somebody should hear of them.

    Either `kpi` (`<schema>.<table>.<column>`) with `below`, `above` or both: a figure outside is worth a message. Of a
    table with a row per day or month, `period` picks the row; of any other, every row is looked at. Or `sql` with `name`
    and `description`. Both are asked of each published snapshot.
    """

    name: str | None = Field(default=None, min_length=3, max_length=80)
    description: str | None = Field(default=None, min_length=3)
    kpi: str | None = Field(default=None, pattern=r"^(silver|gold|ml)\.[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")
    below: float | None = None
    above: float | None = None
    #: `last_complete`: the day before the newest load, or the last month that `is_complete`; `newest`: the last row.
    period: Literal["last_complete", "newest"] | None = None
    sql: str | None = None
    severity: Literal["warning", "error"] = "error"

    @field_validator("sql")
    @classmethod
    def _one_select(cls, value: str | None) -> str | None:
        if value is not None:
            tables_read(value)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> KpiAlert:
        if (self.kpi is None) == (self.sql is None):
            raise ValueError("say either `kpi` (schema.table.column) or `sql` (a SELECT that returns what is wrong)")
        if self.kpi and self.below is None and self.above is None:
            raise ValueError("say from where on it is worth a message: `below`, `above` or both")
        if self.below is not None and self.above is not None and self.below > self.above:
            raise ValueError("`below` is the lower bound: with this, every figure would be out of bounds")
        if self.sql and not (self.name and self.description):
            raise ValueError("a SELECT needs `name` and `description`: they are what the message says")
        if self.sql and (self.period or self.below is not None or self.above is not None):
            raise ValueError("`period`, `below` and `above` belong to `kpi`; write them into the SELECT")
        return self

    @property
    def title(self) -> str:
        """What it is called in messages; two alerts of a source never share it."""
        if self.name:
            return self.name
        bounds = [
            f"{word} {bound:,g}" for word, bound in (("below", self.below), ("above", self.above)) if bound is not None
        ]
        return f"{self.kpi} {' or '.join(bounds)}"

    @property
    def table(self) -> str:
        """`schema.table` of the KPI."""
        return (self.kpi or "").rpartition(".")[0]

    @property
    def column(self) -> str:
        """The KPI's column."""
        return (self.kpi or "").rpartition(".")[2]


def period_column(contract: Contract) -> str | None:
    """The column with the day or month of a table that has one row per day or month; None for others."""
    if len(contract.key) == 1 and contract.columns[contract.key[0]].type == "DATE":
        return contract.key[0]
    return None


def check_kpi_alerts(path: Path, alerts: Sequence[KpiAlert], contracts: Mapping[str, Contract]) -> None:
    """That the alerts of a source fit the tables there are.

    Raises:
        DefinitionError: with the file and line of the alert.
    """
    titles: set[str] = set()
    for number, alert in enumerate(alerts):
        against = _against(alert, contracts) if alert.kpi else None
        if alert.title in titles:
            against = (f"there are two alerts called {alert.title!r}", "give one of them another `name`", "")
        titles.add(alert.title)
        if against:
            what, fix, field = against
            line = line_of(path, ("alerts", number, *([field] if field else [])))
            raise DefinitionError(what, where=f"{path}:{line}", fix=fix)


def _against(alert: KpiAlert, contracts: Mapping[str, Contract]) -> tuple[str, str, str] | None:
    """What is wrong with a KPI that is watched, how to put it right, and the field that says it."""
    contract = contracts.get(alert.table)
    if contract is None:
        return f"there is no table {alert.table!r}", "docs/data-dictionary.md lists the tables", "kpi"
    column = contract.columns.get(alert.column)
    if column is None or not _is_number(column):
        numbers = ", ".join(name for name, c in contract.columns.items() if _is_number(c))
        return f"{alert.table} has no number {alert.column!r}", f"use one of {numbers or 'another table'}", "kpi"
    if period_column(contract):
        return None
    if alert.period:
        return f"{alert.table} has no row per day or month to choose from", "leave out `period`", "period"
    if len(contract.key) > 1 or "is_complete" in contract.columns:
        return (
            f"{alert.table} has many rows, also of the past: {contract.grain}",
            "write a SELECT that chooses those that matter: `sql`, with `name` and `description`",
            "kpi",
        )
    return None


def _is_number(column: Column) -> bool:
    return column.type in ("INTEGER", "BIGINT", "DOUBLE") or column.type.startswith("DECIMAL")
