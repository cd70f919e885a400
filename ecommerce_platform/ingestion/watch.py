"""Watching a landing zone: what lies in it per day, and which days are to be loaded next.

Two steps: `list_landing` takes a listing of the zone (`zone.list_files`), `decide` is pure and compares with what was
seen before. Loading is not done here, and nothing here knows Dagster: the sensor that asks every few seconds is in
`automation`.

A day is complete when its folder holds `_SUCCESS`, or when it looks the same as at the previous tick. Each version
of a complete day is requested once; a version is its fingerprint, made of names, sizes and etags (or modification
times). A day that was requested before and looks different now is not requested when its bytes are those that were loaded
(the zone was copied or restored): that is asked of the warehouse, through a function that is handed in. Whether the load then succeeds is no concern of the watch: it never requests the same version twice.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.landing import file_matcher
from ecommerce_platform.ingestion.zone import MARKER, UPLOADING, as_day, list_files, unfinished

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: The fingerprint of a day of which nothing lies there.
GONE = "-"

_VERSION = 1


@dataclass(frozen=True)
class Day:
    """What lies in the folder of a day."""

    fingerprint: str
    files: int
    size: int
    marked: bool


@dataclass(frozen=True)
class Listing:
    """A landing zone at one moment.

    `problems` are sentences for the user. `unusable` days cannot be loaded before somebody has put something right.
    """

    days: Mapping[date, Day]
    problems: tuple[str, ...] = ()
    unusable: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Limits:
    """Which days exist as partitions, and how much one tick may ask for."""

    start: date
    #: Where the start date is set, for messages.
    start_set_in: str = "source.yml"
    max_days_per_run: int = 31
    max_requests_per_tick: int = 10


@dataclass(frozen=True)
class Version:
    """A version of a day: its fingerprint and how many versions of the day have been requested up to it."""

    fingerprint: str
    number: int

    def __str__(self) -> str:
        return f"{self.fingerprint}#{self.number}"


@dataclass(frozen=True)
class Request:
    """Neighbouring days to be loaded by one run."""

    first: date
    last: date
    versions: tuple[Version, ...]
    #: The same for the same versions of the same days, different for any other.
    key: str

    @property
    def days(self) -> tuple[date, ...]:
        """All days of the range, in order."""
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))


@dataclass(frozen=True)
class DayState:
    """What is remembered of a day: as it was seen last, what was requested last, since when it waits."""

    seen: str
    requested: str = ""
    number: int = 0
    #: Tick at which the version seen became due; 0 when it is not.
    due_since: int = 0


@dataclass(frozen=True)
class WatchState:
    """What is remembered between ticks. `epoch` tells the requests of this memory from those of an earlier one."""

    epoch: str
    tick: int = 0
    days: Mapping[date, DayState] = field(default_factory=dict)

    def to_json(self) -> str:
        """A compact text; some 25 bytes per day that is requested and unchanged."""
        days = {}
        for day, known in sorted(self.days.items()):
            if known.requested == known.seen and known.number == 1:
                days[day.isoformat()] = known.seen
            else:
                parts = (known.seen, known.requested, known.number or "", known.due_since or "")
                days[day.isoformat()] = "/".join(str(part) for part in parts).rstrip("/") + "/"
        return json.dumps({"v": _VERSION, "epoch": self.epoch, "tick": self.tick, "days": days}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> WatchState:
        """The state that `to_json` wrote.

        Raises:
            ValueError: it is not a state of this version.
        """
        try:
            found = json.loads(text)
            if found["v"] != _VERSION:
                raise ValueError(f"it has version {found['v']!r}, not {_VERSION}")
            days = {}
            for day, packed in found["days"].items():
                parts = packed.split("/")
                if len(parts) > 1:
                    seen, requested, number, due = [*parts, "", "", ""][:4]
                    days[date.fromisoformat(day)] = DayState(seen, requested, int(number or 0), int(due or 0))
                else:
                    days[date.fromisoformat(day)] = DayState(packed, packed, 1)
            return cls(str(found["epoch"]), int(found["tick"]), days)
        except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f"it is not a watch's state ({type(error).__name__}: {error})") from None


@dataclass(frozen=True)
class Looked:
    """What came of looking into files: days whose bytes are those that were loaded, and days not come to yet."""

    same: frozenset[date] = frozenset()
    later: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Decision:
    """What a tick does: the runs to ask for, the state to remember, and what to tell the user."""

    requests: tuple[Request, ...]
    state: WatchState
    #: Days that changed since the previous tick and are not marked as complete.
    incomplete: tuple[date, ...] = ()
    #: Complete days that did not fit into this tick.
    waiting: tuple[date, ...] = ()
    #: Complete days left to a run that is in flight already.
    in_flight: tuple[date, ...] = ()
    #: Days that look different and hold the bytes that were loaded.
    same: tuple[date, ...] = ()
    problems: tuple[str, ...] = ()


def list_landing(fs: AbstractFileSystem, root: str, source: Source, follow_links: bool = False) -> Listing:
    """What lies in the landing zone `root`: the files that raw tables name in the folders of days directly below it.

    `root` is written as `fsspec.core.url_to_fs` gives it. Hidden files and folders do not count. Folders that are not
    days, files that two raw tables name and uploads that have not ended are problems of the listing, not errors: the
    other days go on.

    Raises:
        MissingZone: there is no such landing zone.
        PlatformError: it cannot be listed.
    """
    root = root.rstrip("/")
    match = file_matcher(source)
    days: dict[date, _Collected] = {}
    foreign: dict[str, None] = {}
    problems: dict[str, None] = {}
    unusable: set[date] = set()
    for folder, name, found in list_files(fs, root, follow_links=follow_links):
        day = as_day(folder)
        if day is None:
            foreign[folder] = None
            continue
        collected = days.setdefault(day, _Collected())
        if name == MARKER:
            collected.marked = True
        elif name == UPLOADING:
            problems[unfinished(f"{root}/{folder}/{name}")] = None
            unusable.add(day)
        elif name is not None and not name.startswith("."):
            try:
                if match(name, f"{root}/{folder}") is not None:
                    collected.files.append((name, found.size, found.version))
            except InputError as error:
                problems[str(error)] = None
                unusable.add(day)
    said = [
        f"{root}/{folder}: {folder!r} is not a day\n  → name the folder YYYY-MM-DD after the day of the delivery, "
        "or move it elsewhere"
        for folder in sorted(foreign)
    ]
    return Listing(
        {day: found.summed() for day, found in sorted(days.items())}, (*said, *problems), frozenset(unusable)
    )


def decide(
    previous: WatchState,
    listing: Listing,
    today: date,
    limits: Limits,
    in_flight: Mapping[date, Version] | None = None,
    look: Callable[[Sequence[date]], Looked] = lambda days: Looked(),
) -> Decision:
    """Which days to load now.

    A day that vanished after it had been requested is requested once more, so that its rows go; it counts as
    complete when it is gone at two ticks. Days that wait longest come first, so that none starves.

    Args:
        previous: the state of the tick before; `WatchState(epoch)` for the first.
        listing: the landing zone now.
        today: the current day in the shop's time zone; later days have no partition yet.
        limits: the first partition, and how much one tick may ask for.
        in_flight: the newest version of each day that queued or running loads cover.
        look: says of days that were requested before and look different now whether their bytes are others.
    """
    lying = {day for day, found in listing.days.items() if found.fingerprint != GONE}
    loaded = [day for day, known in previous.days.items() if known.requested not in ("", GONE)]
    if not lying and len(loaded) > 1:
        # An unmounted disk looks like this, and taking every drop back would empty the whole warehouse.
        return Decision((), previous, problems=(*listing.problems, _all_gone(len(loaded))))
    tick = _Tick(previous, listing, today, limits, in_flight or {})
    looked = tick.look_into(look)
    requests, waiting = tick.ask()
    return Decision(
        requests=requests,
        state=WatchState(previous.epoch, tick.number, tick.days),
        incomplete=tuple(tick.incomplete),
        waiting=tuple(sorted(waiting | looked.later)),
        same=tuple(sorted(looked.same)),
        in_flight=tuple(tick.left_to_others),
        problems=(*listing.problems, *_without_partition(lying, today, limits)),
    )


class _Tick:
    """What becomes of each day at one look: asked for before, still changing, left to a run in flight, or due."""

    def __init__(
        self,
        previous: WatchState,
        listing: Listing,
        today: date,
        limits: Limits,
        in_flight: Mapping[date, Version],
    ) -> None:
        self.previous, self.listing, self.limits, self.in_flight = previous, listing, limits, in_flight
        self.number = previous.tick + 1
        self.days: dict[date, DayState] = {}
        self.due: list[date] = []
        self.incomplete: list[date] = []
        self.left_to_others: list[date] = []
        for day in sorted(listing.days.keys() | previous.days.keys()):
            known = previous.days.get(day, DayState(""))
            if day not in listing.unusable and limits.start <= day <= today:
                self._see(day, known)
            elif known.requested:
                self.days[day] = known

    def _see(self, day: date, known: DayState) -> None:
        found = self.listing.days.get(day)
        now = found.fingerprint if found else GONE
        if now == GONE and not known.requested:
            return  # nothing was there before, or it went before it was complete
        complete = now == known.seen or bool(found and found.marked)
        if now == known.requested:
            self.days[day] = replace(known, seen=now, due_since=0)
        elif not complete:
            self.days[day] = replace(known, seen=now, due_since=0)
            self.incomplete.append(day)
        elif (running := self.in_flight.get(day)) and running.fingerprint == now and running.number > known.number:
            # Asked for by a tick whose state was lost: the versions before it have smaller numbers.
            self.days[day] = DayState(now, now, running.number)
            self.left_to_others.append(day)
        else:
            self.days[day] = replace(known, seen=now, due_since=known.due_since or self.number)
            self.due.append(day)

    def look_into(self, look: Callable[[Sequence[date]], Looked]) -> Looked:
        """Takes from the days that are due those whose bytes were loaded already, and those not come to yet."""
        days = self.days
        known_before = [day for day in self.due if days[day].requested not in ("", GONE) and days[day].seen != GONE]
        looked = look(known_before) if known_before else Looked()
        for day in looked.same:
            days[day] = replace(days[day], requested=days[day].seen, due_since=0)
        self.due = [day for day in self.due if day not in looked.same | looked.later]
        return looked

    def ask(self) -> tuple[tuple[Request, ...], set[date]]:
        """The runs to ask for, days that wait longest first, and the days that did not fit into this tick."""
        days, most = self.days, self.limits.max_requests_per_tick
        ranges = _ranges(self.due, self.limits.max_days_per_run)
        ranges.sort(key=lambda r: (min(days[d].due_since for d in r), r[0]))
        requests = []
        for chosen in ranges[:most]:
            versions = []
            for day in chosen:
                known = days[day]
                days[day] = DayState(known.seen, known.seen, known.number + 1)
                versions.append(Version(known.seen, known.number + 1))
            requests.append(_request(self.previous.epoch, chosen, versions))
        return tuple(requests), {day for chosen in ranges[most:] for day in chosen}


@dataclass
class _Collected:
    files: list[tuple[str, int, str]] = field(default_factory=list)
    marked: bool = False

    def summed(self) -> Day:
        return Day(
            fingerprint=_digest(*(f"{name}\0{size}\0{version}" for name, size, version in sorted(self.files)))
            if self.files
            else GONE,
            files=len(self.files),
            size=sum(size for _, size, _ in self.files),
            marked=self.marked,
        )


def _digest(*parts: str) -> str:
    # 48 bits tell the versions of one day apart, and ten thousand of them fit into a cursor.
    return urlsafe_b64encode(blake2b("\n".join(parts).encode(), digest_size=6).digest()).decode()


def _ranges(days: list[date], longest: int) -> list[list[date]]:
    """Neighbouring days together, at most `longest` at a time."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and len(ranges[-1]) < longest and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return ranges


def _request(epoch: str, days: list[date], versions: list[Version]) -> Request:
    digest = _digest(epoch, *(f"{day}:{version}" for day, version in zip(days, versions, strict=True)))
    return Request(days[0], days[-1], tuple(versions), f"{days[0]}..{days[-1]}:{digest}")


def _without_partition(lying: set[date], today: date, limits: Limits) -> list[str]:
    problems = []
    if early := sorted(day for day in lying if day < limits.start):
        problems.append(
            f"{_span(early)} before the source's first day {limits.start}, so not loaded\n"
            f"  → set start_date: {early[0]} in {limits.start_set_in}, or rename the folder"
        )
    if late := sorted(day for day in lying if day > today):
        problems.append(too_early(late, today))
    return problems


def too_early(days: Sequence[date], today: date) -> str:
    """What to say of drops that are dated after today: they wait."""
    return (
        f"{_span(sorted(days))} after today ({today} in the shop's time zone), so not loaded yet\n"
        "  → rename the folder if that is not the day of the delivery; else it is loaded when the day has come"
    )


def _span(days: list[date]) -> str:
    return f"the drop of {days[0]} lies" if len(days) == 1 else f"{len(days)} drops, {days[0]} to {days[-1]}, lie"


def _all_gone(count: int) -> str:
    return (
        f"all {count} drops vanished at once: that looks like a missing mount, so nothing is taken back\n"
        "  → mount the landing zone; if it was meant, load the days by hand"
    )
