"""The one partitions definition of bronze, silver and the incremental gold tables: a partition is a day's load.

The key is the day of the drop's folder, not the day of the orders in it. A day without a drop is valid and empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecommerce_platform.contracts.source import Source

if TYPE_CHECKING:
    from datetime import date

    import dagster as dg

#: Name of the job that takes over the loads of a day or of a range of days.
LOAD_JOB = "daily_load"
#: Tag of a run that leaves alone what it finds loaded already; without it, the run's days are loaded again.
ONLY_PENDING = "ecommerce/only_pending"
#: Tag of a run that checks whole tables, not only the rows it has written.
FULL_CHECKS = "ecommerce/full_checks"


def daily_partitions(source: Source) -> dg.DailyPartitionsDefinition:
    """A key per day from the source's start date to today in the shop's time zone, today included."""
    import dagster as dg

    # end_offset: a day's key would else exist only from the next day on, and today's drop could not be loaded.
    return dg.DailyPartitionsDefinition(
        start_date=source.file.start_date.isoformat(), timezone=source.file.time_zone, end_offset=1
    )


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags that make one run cover the days from `first` to `last`."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
