"""Replay: splitting one export into the drops it would have come in, had it been delivered as things happened.

Which row belongs to which drop, and in which state, is worked out here by what `replay:` in `source.yml` says. `landing`
gives a drop its place; `sniff` and `salvage` know what a record is.

A row keeps the bytes it was delivered with. Only the states before its last one are written anew, with times that
had not come yet left empty. Three rules for what an export leaves open:

- A row whose creation is missing or no usable time stands in the first drop as it is, as do rows that belong to none
  and lines that are no record; a later time that is not usable comes with the row's last state. Both are said, and
  when they are more than the table's `max_unparsable_share`, the export is refused.
- A time is usable between the source's start date and today: no other day has a partition to load.
- What happened before a row was created (clocks differ) comes with its creation.

Everything that is split is held in memory, once.
"""

from __future__ import annotations

import gzip
import re
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from ecommerce_platform.contracts.source import ReplayTable, Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.gunzip import gunzip
from ecommerce_platform.ingestion.landing import Folder, Given, Place, choose, explained
from ecommerce_platform.ingestion.sniff import HEAD_BYTES, Head, Unusable, read_head, sniff
from ecommerce_platform.ingestion.split import Fields, Split, split_csv, splittable
from ecommerce_platform.ingestion.split_json import split_json

Every = Literal["day", "month"]
#: What is at work, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]

#: Stands for the first drop until all rows are known.
_FIRST = date.min


@dataclass(frozen=True)
class ReplayedTable:
    """A raw table that was split: its rows in the export, and how many states of them the drops hold in all."""

    name: str
    rows: int
    states: int


@dataclass(frozen=True)
class Replayed:
    """What became of an export.

    `days` are the days of all drops, `already` counts those that were there as they are; `replaced` is where drops
    have been moved that were there and differed, `others` counts drops of other days. `whole` are the files that
    stand unsplit in the first drop, `left` those that no raw table names. `notes` are sentences on rows that the
    export says too little of.
    """

    days: tuple[date, ...]
    already: int
    replaced: tuple[Path | str, ...]
    others: int
    tables: tuple[ReplayedTable, ...]
    whole: tuple[str, ...]
    left: tuple[str, ...]
    notes: tuple[str, ...]


def replay(
    directory: str | Path,
    source: Source,
    place: Path | Place,
    by: str,
    every: Every,
    today: date,
    progress: Progress | None = None,
) -> Replayed:
    """Splits an export folder by its dates and puts the parts into the landing zone as drops.

    The folder itself is only read. A drop that is there already stays; one that differs moves aside. Nothing is
    written before everything has been read and found good.

    Args:
        directory: the export folder.
        source: says how, in `replay`.
        place: where drops are put: the folder of drops, created when missing, or another place.
        by: `<raw table>.<column>`, the creation of the rows that the others follow.
        every: a drop per day, or per month, on its last day.
        today: the current day in the shop's time zone.
        progress: called with what is at work, how much of it is done and how much there is.

    Raises:
        InputError: `by` does not fit the source; the folder holds nothing to split; a file cannot be read, is not
            CSV or JSON, lacks a column or holds too many values that are no times; the disk is full.
    """
    table = check_by(source, by)
    given, left = choose(Path(directory), source)
    around = source.file.root(table)
    if not any(file.table == around for file in given):
        raise InputError(
            f"holds no file of the raw table {around}",
            where=directory,
            fix=f"its files are named {', '.join(source.file.tables[around].files)} (also with .gz)",
        )
    calendar = Calendar(every, source.file.start_date, today, source.file.time_zone)
    plan = plan_replay(given, source, calendar, progress)
    if not plan.periods:
        raise InputError(
            "no row has a time by which it could be replayed", where=directory, fix="land it whole, with --date"
        )

    days = tuple(calendar.day(period) for period in plan.periods)
    already, replaced, others = _put(plan, days, Folder(place) if isinstance(place, Path) else place, progress)
    return Replayed(
        days=days,
        already=already,
        replaced=replaced,
        others=others,
        tables=plan.account(),
        whole=tuple(file.name for file in plan.whole),
        left=left,
        notes=tuple(plan.notes),
    )


def _put(
    plan: Plan, days: Sequence[date], place: Place, progress: Progress | None
) -> tuple[int, tuple[Path | str, ...], int]:
    """Puts a drop per day in its place: how many were there already, what they replaced, drops of other days."""
    there = place.days()
    already = 0
    replaced: list[Path | str] = []
    for number, (period, day) in enumerate(zip(plan.periods, days, strict=True), start=1):
        drop = plan.drop(period)
        if day in there and place.holds(drop, day):
            already += 1
        elif (aside := place.put(drop, day)) is not None:
            replaced.append(aside)
        if progress:
            progress("writing drops", number, len(days))
    return already, tuple(replaced), len(set(there) - set(days))


def check_by(source: Source, by: str) -> str:
    """The raw table that `by` names, if it is one by which the source can be replayed.

    Raises:
        InputError: says what `by` could be instead.
    """
    dated = {name: table.created for name, table in source.file.replay.items() if not table.follows}
    path = source.file.path
    if not dated:
        raise InputError(
            f"{source.name} does not say how it is replayed",
            where=path,
            fix="add a `replay` section (CONTRIBUTING.md has one), or land the export as one drop with --date",
        )
    fix = f"use one of {', '.join(f'{name}.{created}' for name, created in dated.items())}"
    table, dot, column = by.partition(".")
    if not dot or not column:
        raise InputError(f"{by!r} is not written <raw table>.<column>", where="--by", fix=fix)
    if table not in source.file.tables:
        raise InputError(f"{source.name} has no raw table {table!r}", where="--by", fix=fix)
    if table not in dated:
        raise InputError(f"{table!r} has no dates of its own in `replay` of {path}", where="--by", fix=fix)
    if column.lower() != str(dated[table]).lower():
        raise InputError(f"rows of {table!r} are created by {dated[table]}, not {column!r}", where="--by", fix=fix)
    return table


#: A moment as `as_local_timestamp` reads it: what stands before its offset, and that.
_MOMENT = re.compile(r"(.{10})[T ]+([0-9:.]+) ?(?:Z|UTC|GMT|([+-][01]\d):?([0-5]\d)?)", re.IGNORECASE)


class Calendar:
    """Tells the period, and so the drop, that a time falls into: that of its day on the shop's clock.

    A period is known by its last day. `latest` is the last day that any usable time fell on.
    """

    def __init__(self, every: Every, start: date, today: date, time_zone: str) -> None:
        self.every, self.start, self.today = every, start, today
        self.zone = ZoneInfo(time_zone)
        self.latest = start

    def period(self, text: str, time_format: str | None = None) -> date | None:
        """The period of a time as it is written, with an offset or by the shop's clock; None when it is no usable time."""
        try:
            moment = datetime.strptime(text, time_format) if time_format else _time(text)
            day = (moment.astimezone(self.zone) if moment.tzinfo else moment).date()
        except (ValueError, OverflowError):
            return None
        if not self.start <= day <= self.today:
            return None
        self.latest = max(self.latest, day)
        return day if self.every == "day" else day.replace(day=monthrange(day.year, day.month)[1])

    def day(self, period: date) -> date:
        """The day of a period's drop: its last one, or the last that is known of a month that is not over."""
        return period if period <= self.today else self.latest


def _time(text: str) -> datetime:
    """A time in ISO 8601; one with an offset as mappings read it.

    Raises:
        ValueError: it is none.
    """
    if found := _MOMENT.fullmatch(text):
        return datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or '+00'}:{found[4] or '00'}")
    time = datetime.fromisoformat(text)
    if time.tzinfo:
        raise ValueError(f"{text} has an offset that mappings do not read")
    return time


def _whole(given: Given) -> tuple[bytes, Head]:
    """All of a file, unpacked, and its beginning."""
    with explained(given.path, 0):
        data = b"".join(given.read())
        head = read_head(given.path)
    if head.gzip:
        damage: list[str] = []
        data = b"".join(gunzip([data], damage))
        if damage:
            raise InputError(damage[0], where=given.path, fix="get the file again; a part of an export has no history")
        head = Head(data[:HEAD_BYTES], len(data) <= HEAD_BYTES, True)
    return data, head


def split_file(given: Given, source: Source) -> Split | None:
    """Cuts a file into its records; None when it holds none.

    Args:
        given: the file, with the raw table that its records are; of pages the one that is made of their array.
        source: says how that is read and replayed.

    Raises:
        InputError: the file cannot be read, is damaged, is neither CSV nor JSON, or more of its lines are no records than
            the table tolerates; names the line.
    """
    table, dates = source.file.tables[given.table], source.file.replay[given.table]
    keys = table.exploded.levels[0] if table.exploded else ()
    data, head = _whole(given)
    shape = sniff(head, source.file.tables[source.file.root(given.table)])
    if isinstance(shape, Unusable):
        if shape.kind == "empty":
            return None
        raise InputError(shape.text, where=given.path, fix="replace the file, or take it away and replay the others")
    is_json = shape.format not in ("csv", "parquet", "xlsx")
    if shape.format in ("parquet", "xlsx") or not (
        shape.encoding == "utf-8" if is_json else splittable(shape.encoding)
    ):
        what = shape.format if shape.format in ("parquet", "xlsx") else shape.encoding
        raise InputError(
            f"is {what}, which cannot be split",
            where=given.path,
            fix="export it as CSV or JSON in UTF-8, or take the table out of `replay` in source.yml",
        )
    if keys and not is_json:
        raise InputError(
            f"is CSV, which holds no records of {given.table}",
            where=given.path,
            fix="replace the file by the JSON that its raw table is made of, or take it away",
        )
    split, why = split_json(given, shape, data, dates, keys) if is_json else split_csv(given, shape, data)
    if len(split.faulty) > table.max_unparsable_share * len(split.spans):
        number = min(split.faulty)
        raise InputError(
            f"{len(split.faulty):,} of {len(split.spans):,} lines are no records: {why(number)}",
            where=f"{given.path}:{split.line(number)}",
            fix=f"correct the file, or raise `max_unparsable_share` of {given.table} in source.yml",
        )
    return split if split.spans else None


#: First and last period of the rows with a value, by the value.
_Lives = dict[str, tuple[date, date]]


class Plan:
    """Which rows of which files make up which drop.

    Attributes:
        splits: the files that are split.
        whole: the others.
        notes: sentences on rows that the export says too little of.
        periods: all periods with rows, in order; the first also has what belongs to none.
    """

    def __init__(self, source: Source, calendar: Calendar) -> None:
        self.source, self.calendar = source, calendar
        self.splits: list[Split] = []
        self.whole: list[Given] = []
        self.notes: list[str] = []
        self.periods: list[date] = []
        self._lives: dict[tuple[str, str], _Lives] = {
            table.followed: {} for table in source.file.replay.values() if table.follows
        }

    def add(self, split: Split) -> None:
        """Works out the drops of a file's rows; tables that others follow have to come first."""
        table = self.source.file.replay[split.given.table]
        split.last = [_FIRST] * len(split.spans)
        split.rows[_FIRST] += sorted(split.faulty)
        if split.faulty:
            self._note(split, len(split.faulty), "lines are no records", min(split.faulty), "stand in the first drop")
        if table.follows:
            self._follow(split, table)
        else:
            self._date(split, table)
        self.splits.append(split)

    def _date(self, split: Split, table: ReplayTable) -> None:
        """Rows with dates of their own."""
        name = split.given.table
        columns = list(table.events) or [str(table.created)]
        times = [_Times(split, column, table, self.calendar) for column in columns]
        if table.status:
            split.position(table.status)
        indexes = [(split.position(column), lives) for (other, column), lives in self._lives.items() if other == name]
        for number, fields in split.records():
            created, *later = [time.of(number, fields) for time in times]
            if created is None:
                periods = {_FIRST}
            else:
                # What happened before the creation comes with it.
                life = (created, *(max(period, created) if period else None for period in later))
                periods = {period for period in life if period}
                if len(periods) > 1:
                    split.life[number] = life
            for period in periods:
                split.rows[period].append(number)
            first, last = min(periods), max(periods)
            split.last[number] = last
            for position, lives in indexes:
                if key := split.text(fields[position]):
                    known = lives.get(key, (first, last))
                    lives[key] = min(known[0], first), max(known[1], last)
        tolerated = self.source.file.tables[name].max_unparsable_share
        self.notes += times[0].notes(tolerated, "stand in the first drop", empty=True)
        for time in times[1:]:
            self.notes += time.notes(tolerated, "come with the last state of their rows")

    def _follow(self, split: Split, table: ReplayTable) -> None:
        """Rows that come with those of another table."""
        other, column = table.followed
        lives = self._lives[other, column]
        position = split.position(table.by or column)
        time = _Times(split, table.created, table, self.calendar) if table.created else None
        which = 0 if table.comes_with == "creation" else 1
        unknown: list[int] = []
        for number, fields in split.records():
            own = time.of(number, fields) if time else None
            life = lives.get(split.text(fields[position]))
            if life is None:
                unknown.append(number)
                period = _FIRST
            else:
                period = max(own, life[0]) if own else life[which]
            split.rows[period].append(number)
            split.last[number] = period
        if unknown:
            self._note(split, len(unknown), f"rows belong to no row of {other}", unknown[0], "stand in the first drop")
        if time:
            event = "creation" if which == 0 else "last event"
            tolerated = self.source.file.tables[split.given.table].max_unparsable_share
            self.notes += time.notes(tolerated, f"come with the {event} of their row of {other}", empty=True)

    def _note(self, split: Split, count: int, what: str, number: int, then: str) -> None:
        self.notes.append(f"{split.given.name}: {count:,} {what} (the first in line {split.line(number)}); they {then}")

    def close(self) -> None:
        """To be called when all files have been added."""
        found = {period for split in self.splits for period in split.rows}
        self.periods = sorted(found - {_FIRST})
        if self.periods:
            for split in self.splits:
                early = split.rows.pop(_FIRST, [])
                for number in early:
                    split.last[number] = self.periods[0]
                split.rows[self.periods[0]] = sorted(split.rows[self.periods[0]] + early)

    def drop(self, period: date) -> list[Given]:
        """The files of a period's drop, ordered by name."""
        files = list(self.whole) if period == self.periods[0] else []
        for split in self.splits:
            if split.rows.get(period):
                content = self._content(split, period)
                files.append(
                    Given(
                        split.given.name, split.given.table, split.given.path, len(content), partial(iter, (content,))
                    )
                )
        return sorted(files, key=lambda file: file.name)

    def _content(self, split: Split, period: date) -> bytes:
        data, spans = split.data, split.spans
        pieces = []
        rows, size = split.finals
        for number in split.rows[period]:
            start, stop = spans[number]
            record = data[start:stop]
            if split.last[number] == period:
                rows, size = rows + 1, size + stop - start
            else:
                record = self._earlier(split, number, record, period)
            pieces.append(record)
        split.states += len(split.rows[period])
        split.finals = rows, size
        content = split.joined(pieces)
        # The time within the gzip header would make the same drop differ each time.
        return gzip.compress(content, 6, mtime=0) if split.shape.gzip else content

    def _earlier(self, split: Split, number: int, record: bytes, period: date) -> bytes:
        """A record as it stood at the end of a period that was not its last."""
        table = self.source.file.replay[split.given.table]
        changed: dict[str, str] = {}
        status = ""
        for (column, reached), when in zip(table.events.items(), split.life[number], strict=True):
            if when and when <= period:
                status = reached
            else:
                changed[column] = ""
        if table.status:
            changed[table.status] = status
        return split.stated(record, changed)

    def account(self) -> tuple[ReplayedTable, ...]:
        """Rows and states per split table, after all drops have been written; a row that is lost is a bug."""
        tables: dict[str, list[int]] = {}
        for split in self.splits:
            expected = len(split.spans), sum(stop - start for start, stop in split.spans)
            if split.finals != expected:
                raise RuntimeError(
                    f"{split.given.path}: {expected} rows and bytes in the export, {split.finals} in the drops"
                )
            counts = tables.setdefault(split.given.table, [0, 0])
            counts[0] += len(split.spans)
            counts[1] += split.states
        return tuple(ReplayedTable(name, *tables[name]) for name in self.source.file.replay if name in tables)


def plan_replay(given: list[Given], source: Source, calendar: Calendar, progress: Progress | None = None) -> Plan:
    """Reads the files of an export and works out the drops they become; writes nothing.

    Args:
        given: what `choose` returned.
        source: says in `replay` what is split and how.
        calendar: the periods.
        progress: called with what is at work, the bytes that are read and the bytes in all.

    Raises:
        InputError: a file that is to be split cannot be.
    """
    plan = Plan(source, calendar)
    tables, replayed = source.file.replay, source.file.replayed
    dated = [replace(file, table=replayed[file.table]) for file in given if file.table in replayed]
    plan.whole = [file for file in given if file.table not in replayed]
    done, size = 0, sum(file.size for file in dated)
    # Who is followed comes first.
    for file in sorted(dated, key=lambda file: (bool(tables[file.table].follows), file.name)):
        split = split_file(file, source)
        if split is None:
            plan.whole.append(file)
        else:
            plan.add(split)
        done += file.size
        if progress:
            progress(f"reading {file.name}", done, size)
    plan.close()
    return plan


class _Times:
    """The times in one column, and the values that are none."""

    def __init__(self, split: Split, column: str, table: ReplayTable, calendar: Calendar) -> None:
        self.split, self.column, self.format, self.calendar = split, column, table.time_format, calendar
        self.position = split.position(column)
        self.empty: list[int] = []
        self.bad: list[tuple[int, str]] = []

    def of(self, number: int, fields: Fields) -> date | None:
        """The period of a record's time."""
        text = self.split.text(fields[self.position])
        if not text:
            self.empty.append(number)
            return None
        period = self.calendar.period(text, self.format)
        if period is None:
            self.bad.append((number, text))
        return period

    def notes(self, tolerated: float, then: str, empty: bool = False) -> list[str]:
        """What there is to say once all records have been seen.

        Args:
            tolerated: share of records whose value may be no usable time.
            then: what becomes of these.
            empty: whether empty values are worth a word.

        Raises:
            InputError: more are not.
        """
        notes, split, name = [], self.split, self.split.given.name
        if self.bad:
            number, text = self.bad[0]
            what = f"{len(self.bad):,} of {len(split.spans):,} values of {self.column} are no usable time"
            if len(self.bad) > tolerated * len(split.spans):
                raise InputError(
                    f"{what}; the first is {text!r}",
                    where=f"{split.given.path}:{split.line(number)}",
                    fix=f"a time is ISO 8601, or as `time_format` in `replay` of source.yml says, "
                    f"between start_date ({self.calendar.start}) and today ({self.calendar.today})",
                )
            notes.append(f"{name}: {what} (the first in line {split.line(number)}: {text!r}); they {then}")
        if self.empty and empty:
            notes.append(
                f"{name}: {len(self.empty):,} rows have no {self.column} "
                f"(the first in line {split.line(self.empty[0])}); they {then}"
            )
        return notes
