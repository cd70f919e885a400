"""Why revenue changed between any two periods: the SELECT of `gold.revenue_drivers` with other periods in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.first_step import with_first_step

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "gold.revenue_drivers"


@dataclass(frozen=True)
class Periods:
    """Two periods by their first and last days."""

    before_first: date
    before_last: date
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.before_first > self.before_last or self.first > self.last:
            raise ValueError("a period ends no earlier than it begins")


def drivers_sql(pairs: Sequence[Periods], catalog: Catalog | None = None) -> str:
    """The SELECT of the parts of the change of each pair, with the columns of `gold.revenue_drivers`; seven rows a pair.

    Args:
        pairs: at least one; `comparison` numbers them from 0.
        catalog: where the table's SELECT stands; by default that of the platform.
    """
    if not pairs:
        raise ValueError("a change is between at least one pair of periods")
    sql = (catalog or read_catalog()).tables[TABLE].sql
    assert sql is not None
    rows = ", ".join(
        f"('{n}', date '{p.first:%Y-%m-%d}', date '{p.last:%Y-%m-%d}', "
        f"date '{p.before_first:%Y-%m-%d}', date '{p.before_last:%Y-%m-%d}')"
        for n, p in enumerate(pairs)
    )
    columns = "comparison, first_date, last_date, before_first_date, before_last_date"
    return with_first_step(sql, "pairs", f"select {columns} from (values {rows}) as asked ({columns})")


def revenue_drivers(con: DuckDBPyConnection, pairs: Sequence[Periods]) -> Any:
    """The parts as a polars frame, by pair and part; see `drivers_sql`."""
    return con.sql(f"select * from ({drivers_sql(pairs)}) as drivers order by comparison, part").pl()
