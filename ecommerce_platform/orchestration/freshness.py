"""How old a table may be, from its contract to Dagster's policy. How old it is, Dagster's daemon finds out.

That is about when a table was built: one that is built anew each night from an export of years ago is fresh. How far its
data go stands beside it (`DATA_TO`), and alerts tell when loads are switched on and the data fall behind.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.contract import Contract

if TYPE_CHECKING:
    from datetime import date

    import dagster as dg
    from duckdb import DuckDBPyConnection

#: Metadata of a table that must be fresh: the day of the newest valid order when it was built.
DATA_TO = "data_to"
#: Data may end so long ago whatever contracts say: shops close for a weekend, or between the years.
PAUSE = timedelta(days=7)


def freshness_policy(contract: Contract) -> dg.FreshnessPolicy | None:
    """The policy of a table whose contract says `fresh_within_hours`; None for all others.

    The table warns in the last fifth of its time, so that somebody can act before it is too old.
    """
    import dagster as dg

    if contract.fresh_within_hours is None:
        return None
    allowed = timedelta(hours=contract.fresh_within_hours)
    return dg.FreshnessPolicy.time_window(fail_window=allowed, warn_window=allowed * 0.8)


def data_to(con: DuckDBPyConnection, contract: Contract) -> dict[str, str]:
    """How far the data of a table go that must be fresh, as its metadata; nothing for others, and where there is no order."""
    from ecommerce_platform.warehouse.lookup import table_exists

    if contract.fresh_within_hours is None or not table_exists(con, "silver", "orders"):
        return {}
    row = con.execute("select max(cast(ordered_at as date)) from silver.orders where is_valid").fetchone()
    return {DATA_TO: row[0].isoformat()} if row and row[0] else {}


def behind_since(day: date, hours: int) -> float:
    """When data that end with `day` fall behind (seconds since 1970), in a table that may be `hours` old."""
    from datetime import UTC, datetime, time

    # The end of the day in UTC; beside a week, time zones do not matter.
    end = datetime.combine(day + timedelta(days=1), time(), UTC)
    return (end + max(PAUSE, timedelta(hours=hours))).timestamp()
