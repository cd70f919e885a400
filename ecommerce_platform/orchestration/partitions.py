"""The one partitions definition of bronze, silver and the incremental gold tables: a partition is a day's load.

The key is the day of the drop's folder, not the day of the orders in it. A day without a drop is valid and empty. Which
days have a key is decided here (docs/decisions/0031); which of them are due, in `ingestion.watch`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import PlatformError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

#: Name of the job that takes over the loads of a day or of a range of days.
LOAD_JOB = "daily_load"
#: Names the listing of drops by which somebody says what is pending.
PENDING = "pending"
#: Tag of a run that leaves alone what it finds loaded already; without it, the run's days are loaded again.
ONLY_PENDING = "ecommerce/only_pending"
#: Tag of a run that checks whole tables, not only the rows it has written.
FULL_CHECKS = "ecommerce/full_checks"
#: Tag of a run that trains models with all methods and folds rather than with the quick choice.
FULL_TRAINING = "ecommerce/full_training"
#: Tag of a run that leaves models alone until a week has passed since they were made; whoever asks for them gets them.
WHEN_DUE = "ecommerce/when_due"
#: Drops still come as long as the newest is not older: a shop that delivers once a month has a key for each day.
STILL_COMING = timedelta(days=35)
#: The file in DAGSTER_HOME with the first and the last day that a run was planned for.
_ASKED_FOR = ".days"
_START, _END, _ONE = (
    "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
)  # fmt: skip


@dataclass(frozen=True)
class Days:
    """The days that have a key: from `first` to `last`, and on to the current day where there is no `last`."""

    first: date
    last: date | None = None

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= (self.last or day)


def days_with_keys(start: date, days: Iterable[date], today: date) -> Days:
    """Which days have a key.

    Args:
        start: the source's first day; there is no key before it.
        days: those that have a drop, and those that a run was ever planned for.
        today: the current day in the shop's time zone. A drop of a later day waits, and means that drops still come.
    """
    known = [day for day in days if day >= start]
    if not known:
        return Days(start)
    newest = max(known)
    return Days(max(start, min(today, *known)), None if newest >= today - STILL_COMING else newest)


def daily_partitions(source: Source, days: Days | None = None) -> dg.DailyPartitionsDefinition:
    """A key per day, in the shop's time zone; by default from the source's start date to today, today included."""
    import dagster as dg

    days = days or Days(source.file.start_date)
    zone = source.file.time_zone
    if days.last:
        end = (days.last + timedelta(days=1)).isoformat()
        return dg.DailyPartitionsDefinition(start_date=days.first.isoformat(), end_date=end, timezone=zone)
    # end_offset: a day's key would else exist only from the next day on, and today's drop could not be loaded. Where no day
    # has ended yet, Dagster finds no first window: then yesterday has a key, too.
    first = min(days.first, today_in(source) - timedelta(days=1))
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone=zone, end_offset=1)


def remember_ranges() -> None:
    """Makes Dagster work out once per process which time windows a range of days is, and which days windows are.

    It does so for every input of every step, day by day: 35 ms for two years, hundreds of times a run. For a process
    that makes one run; one that lives for days would remember which days there were.
    """
    from dagster._core.definitions.partitions.subset import AllPartitionsSubset as All
    from dagster._core.definitions.partitions.subset import TimeWindowPartitionsSubset as Subset

    if hasattr(Subset.get_partition_keys, "__wrapped__"):
        return
    of_range, keys_of = Subset.with_partition_key_range, Subset.get_partition_keys

    @lru_cache(64)
    def new(definition: Any, key_range: Any) -> Any:
        return of_range(definition.empty_subset(), definition, key_range)

    @lru_cache(64)
    def keys(definition: Any, windows: tuple[Any, ...]) -> tuple[str, ...]:
        return tuple(keys_of(Subset(definition, None, windows)))

    @wraps(of_range)
    def with_partition_key_range(self: Any, partitions_def: Any, partition_key_range: Any) -> Any:
        if self.is_empty and self.partitions_def == partitions_def:
            return new(partitions_def, partition_key_range)
        return of_range(self, partitions_def, partition_key_range)

    @wraps(keys_of)
    def get_partition_keys(self: Any) -> list[str]:
        return list(keys(self.partitions_def, tuple(self.included_time_windows)))

    @lru_cache(16)
    def every(definition: Any) -> tuple[str, ...]:
        return tuple(definition.get_partition_keys())

    @wraps(All.get_partition_keys)
    def all_partition_keys(self: Any, current_time: datetime | None = None) -> list[str]:
        return list(every(self.partitions_def))

    for own in (with_partition_key_range, get_partition_keys):
        setattr(Subset, own.__name__, own)
    All.get_partition_keys = all_partition_keys  # type: ignore[method-assign]


def current_days(settings: Settings, source: Source, today: date | None = None) -> Days:
    """The days that have a key now. The folder of drops is listed, not the drops; an object store is not asked: there,
    keys run from the source's start date to today.
    """
    from ecommerce_platform.ingestion.landing import day_folders
    from ecommerce_platform.ingestion.zone import LocalZone, open_zone

    start = source.file.start_date
    zone = open_zone(settings)
    if not isinstance(zone, LocalZone):
        return Days(start)
    try:
        found = day_folders(zone.raw_dir)
    except (OSError, PlatformError):  # whoever lists the drops says what is wrong; the definitions have to load
        return Days(start)
    if not found:
        return Days(start)
    return days_with_keys(start, [*found, *asked_for(settings.home)], today or today_in(source))


def today_in(source: Source) -> date:
    """The current day in the shop's time zone."""
    from zoneinfo import ZoneInfo

    return datetime.now(ZoneInfo(source.file.time_zone)).date()


def asked_for(home: Path) -> tuple[date, ...]:
    """The first and the last day that a run was planned for; none if there was no run, or nobody knows any more."""
    try:
        first, _, last = (home / _ASKED_FOR).read_text(encoding="utf-8").strip().partition("..")
        return date.fromisoformat(first), date.fromisoformat(last)
    except (OSError, ValueError):
        return ()


def ask_for(home: Path, first: date, last: date) -> None:
    """Gives the days from `first` to `last` a key in all definitions that are loaded from now on.

    A day whose drop was taken away after it was loaded has to have one: a run takes its rows back.
    """
    known = asked_for(home)
    wider = (min(first, *known), max(last, *known)) if known else (first, last)
    if wider == known:
        return
    half = home / f"{_ASKED_FOR}.{os.getpid()}"
    half.write_text(f"{wider[0]}..{wider[1]}\n", encoding="utf-8")
    half.replace(home / _ASKED_FOR)


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags that make one run cover the days from `first` to `last`."""
    return {_START: first.isoformat(), _END: last.isoformat()}


def range_of(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """The first and the last day of a run with these tags; None for one of no days."""
    try:
        one = tags.get(_ONE)
        return date.fromisoformat(one or tags[_START]), date.fromisoformat(one or tags[_END])
    except (KeyError, ValueError):
        return None
