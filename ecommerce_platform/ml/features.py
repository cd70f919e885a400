"""Customers as the shop knew them at the end of any day: what models learn from, without anything that came later.

The figures are those of `gold.customer_features_as_of`, whose SELECT holds the days it is worked out for in its first
step. Here other days are put there; there is no second definition.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.contracts.first_step import with_first_step
from ecommerce_platform.warehouse.changes import own_code

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "gold.customer_features_as_of"
FILE = MODELS / "gold" / "customers" / "customer_features_as_of.sql"


def features_sql(days: Collection[date]) -> str:
    """The SELECT of the features as of some days: a row per day and person with a counted order up to it.

    Args:
        days: at whose ends persons are described; at least one.
    """
    if not days:
        raise ValueError("features are of at least one day")
    sql = own_code(str(FILE)).rstrip().rstrip(";")
    values = ", ".join(f"(date '{day:%Y-%m-%d}')" for day in sorted(set(days)))
    return with_first_step(sql, "cut_offs", f"select as_of_date from (values {values}) as days (as_of_date)")


def features_as_of(con: DuckDBPyConnection, days: Collection[date]) -> Any:
    """The features as of some days as a polars frame, by day and person; see `features_sql`."""
    return con.sql(f"select * from ({features_sql(days)}) as features order by as_of_date, person_id").pl()
