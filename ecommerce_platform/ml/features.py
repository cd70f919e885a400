"""Customers as the shop knew them at the end of any day: what models learn from, without anything that came later.

The figures are those of `gold.customer_features_as_of`, whose SELECT holds the days it is worked out for in its first
step. Here other days are put there; there is no second definition.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.first_step import with_first_step

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "gold.customer_features_as_of"


def features_sql(days: Collection[date], catalog: Catalog | None = None) -> str:
    """The SELECT of the features as of some days: a row per day and person with a counted order up to it.

    Args:
        days: at whose ends persons are described; at least one.
        catalog: where the table's SELECT stands; by default that of the platform.
    """
    if not days:
        raise ValueError("features are of at least one day")
    sql = (catalog or read_catalog()).tables[TABLE].sql
    assert sql is not None
    values = ", ".join(f"(date '{day:%Y-%m-%d}')" for day in sorted(set(days)))
    return with_first_step(sql, "cut_offs", f"select as_of_date from (values {values}) as days (as_of_date)")


def features_as_of(con: DuckDBPyConnection, days: Collection[date]) -> Any:
    """The features as of some days as a polars frame, by day and person; see `features_sql`."""
    return con.sql(f"select * from ({features_sql(days)}) as features order by as_of_date, person_id").pl()
