"""Drops: the folders `raw/<YYYY-MM-DD>/` that hold one day's delivery each, how they come to be and what is in them.

A drop is never changed in place. It appears whole, and one that is delivered again moves to `.replaced/` (how is
in `swap`). What the files hold is the readers', and how one export becomes many drops that of `replay`;
hidden folders are nobody's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from fnmatch import translate
from functools import partial
from pathlib import Path
from typing import Protocol

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.disk import sync
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion.entries import Bounds, is_folder, look_at
from ecommerce_platform.ingestion.swap import place, settled

_CHUNK = 1 << 20
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
#: Also one that a kill left half in place: it counts already.
_DAY_FOLDER = re.compile(r"(?:\.ready-)?(\d{4}-\d{2}-\d{2})(?:-\d{8}T\d{12})?")
#: Begins the names of the folders that deliveries come in by.
INCOMING = ".incoming-"
#: What a killed `land` left behind is removed after this many seconds; a running one is younger.
_STALE = 24 * 3600

Progress = Callable[[int, int], None]


@dataclass(frozen=True, order=True)
class RawFile:
    """One delivered file of a raw table, as it stood in the folder of its day.

    One that lies in an object store has a number made of its etag for `mtime_ns`, and `path` is the copy that was
    fetched for a load, with that copy's own time in `copied_ns`; until then there is only its name.
    """

    day: date
    name: str
    path: Path
    size: int
    mtime_ns: int
    #: Where it was delivered, when that is not `path`.
    url: str = ""
    copied_ns: int | None = None
    #: Why it is not to be opened: what stands there is no file, or a link that is not followed.
    fault: str | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        """Where it was delivered, for messages."""
        return self.url or str(self.path)


@dataclass(frozen=True)
class Drops:
    """Everything below `raw/`: the files of each raw table by day and name, and those no table names."""

    tables: dict[str, list[RawFile]]
    left: tuple[Path, ...]
    #: Days that an upload has begun for and not ended: they are left as they were loaded.
    unfinished: frozenset[date] = frozenset()

    @property
    def days(self) -> tuple[date, ...]:
        """Days with at least one file of a raw table, in order."""
        return tuple(sorted({file.day for files in self.tables.values() for file in files}))


@dataclass(frozen=True)
class Landed:
    """What became of a delivery.

    `landed` are the names of the files that make up the drop, `left` those of files that no raw table names.
    `already` says that the very same files were there before, so that nothing was done. `replaced` is where the
    drop that was there before has been moved.
    """

    day: date
    landed: tuple[str, ...]
    left: tuple[str, ...]
    size: int
    already: bool = False
    replaced: Path | str | None = None


@dataclass(frozen=True)
class Given:
    """A file on its way into a drop.

    `read` gives its bytes in chunks, from the beginning each time. `table` is the raw table that names it, `path` the
    file that the bytes come from, for messages.
    """

    name: str
    table: str
    path: Path
    size: int
    read: Callable[[], Iterable[bytes]]


class Place(Protocol):
    """Where drops are put; `zone.py` has the one that is an object store."""

    def days(self) -> Collection[date]:
        """The days that have a drop, when more are to be put there."""

    def holds(self, given: Sequence[Given], day: date) -> bool:
        """Whether the drop of a day that has one consists of the very same files."""

    def put(self, given: Sequence[Given], day: date, progress: Progress | None = None) -> Path | str | None:
        """Makes `given` the drop of `day`; where the drop that was there before has been moved."""


class Folder:
    """The folder of drops on this machine."""

    def __init__(self, raw_dir: Path, follow_links: bool = False) -> None:
        self.raw_dir, self.follow_links = raw_dir, follow_links

    def days(self) -> Collection[date]:
        """The days that have a folder; see `open_raw`."""
        return open_raw(self.raw_dir).keys()

    def holds(self, given: Sequence[Given], day: date) -> bool:
        """Whether the folder of a day consists of the very same files."""
        return is_drop(given, self.raw_dir / day.isoformat())

    def put(self, given: Sequence[Given], day: date, progress: Progress | None = None) -> Path | None:
        """Makes `given` the drop of `day`, whole or not at all; see `put_drop`."""
        return put_drop(given, day, self.raw_dir, progress)


def _refuse_days_to_come(day: date | None, today: date) -> None:
    if day and day > today:
        raise InputError(
            f"is in the future: today is {today} in the shop's time zone",
            where=f"the drop of {day}",
            fix="give the day of the delivery; a drop of a day to come would wait for that day",
        )


def land(
    directory: str | Path,
    source: Source,
    place: Path | Place,
    day: date | None,
    today: date,
    progress: Progress | None = None,
) -> Landed:
    """Puts the files of an export folder into the landing zone as the drop of one day.

    The folder itself is only read. Its subfolders are not looked at.

    Args:
        directory: the export folder.
        source: its raw tables' patterns say which files belong.
        place: where drops are put: the folder of drops, created when missing, or another place.
        day: the day of the drop. Without it, today, unless the very same files (name, size, content) are a drop
            already.
        today: the current day in the shop's time zone.
        progress: called with the bytes copied so far and the bytes in all.

    Raises:
        InputError: the folder does not exist or holds no file that a raw table names; two raw tables name the
            same file; a file cannot be read; the disk is full; the day has not come yet.
    """
    _refuse_days_to_come(day, today)
    given, left = choose(Path(directory), source)
    size = sum(file.size for file in given)
    names = tuple(file.name for file in given)
    place = Folder(place) if isinstance(place, Path) else place
    days = place.days()
    candidates = [day] if day else sorted(days, reverse=True)
    for known in candidates:
        if known in days and place.holds(given, known):
            return Landed(known, names, left, size, already=True)
    day = day or today
    replaced = place.put(given, day, progress)
    return Landed(day, names, left, size, replaced=replaced)


def open_raw(raw_dir: Path) -> dict[date, Path]:
    """The folders of all drops by day, when more are to be put there: makes `raw_dir` and tidies it up.

    Raises:
        InputError: a folder below `raw_dir` is not named like a day.
    """
    raw_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(raw_dir)
    with settled(raw_dir) as ready:
        return _days(raw_dir) | ready


def put_drop(given: Sequence[Given], day: date, raw_dir: Path, progress: Progress | None = None) -> Path | None:
    """Makes `given` the drop of `day`, whole or not at all.

    Args:
        given: all files of the drop.
        day: its day.
        raw_dir: the folder of drops; it has to be there.
        progress: called with the bytes copied so far and the bytes in all.

    Returns:
        Where the drop that was there before has been moved.

    Raises:
        InputError: a file cannot be read; the disk is full.
    """
    size = sum(file.size for file in given)
    incoming = Path(tempfile.mkdtemp(prefix=f"{INCOMING}{day.isoformat()}-", dir=raw_dir))
    try:
        with explained(raw_dir, size):
            _copy(given, incoming, progress, size)
            return place(incoming, day, raw_dir)
    except BaseException:
        shutil.rmtree(incoming, ignore_errors=True)
        raise


def list_drops(raw_dir: Path, source: Source, follow_links: bool = False) -> Drops:
    """The files of every raw table in all drops, ordered by day and name; every raw table has an entry.

    Only files directly in the folder of a day count. Hidden files and folders do not. What is named like a file of a raw
    table and is none (a folder, a link that leads nowhere or, unless `follow_links`, out of `raw_dir`) has a `fault`.

    Raises:
        InputError: a folder below `raw_dir` is not named like a day; a file that two raw tables name.
    """
    with settled(raw_dir) as ready:
        return _list(raw_dir, source, ready, Bounds(raw_dir, follow_links))


def _list(raw_dir: Path, source: Source, ready: dict[date, Path], bounds: Bounds) -> Drops:
    tables: dict[str, list[RawFile]] = {name: [] for name in source.file.tables}
    match = file_matcher(source)
    left: list[Path] = []
    if raw_dir.is_dir():
        left += [
            Path(entry.path)
            for entry in os.scandir(raw_dir)
            if not entry.name.startswith(".") and not is_folder(entry.path)
        ]
    for day, folder in sorted((_days(raw_dir) | ready).items()):
        inside = bounds.hold(str(folder))
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            table = match(entry.name, folder)
            if table is None:
                left.append(Path(entry.path))
                continue
            found = look_at(entry.path, bounds, inside=inside)
            tables[table].append(
                RawFile(day, entry.name, Path(entry.path), found.size, found.mtime_ns, fault=found.fault)
            )
    for files in tables.values():
        files.sort()
    return Drops(with_exploded(tables, source), tuple(sorted(left)))


def with_exploded(tables: dict[str, list[RawFile]], source: Source) -> dict[str, list[RawFile]]:
    """The files of each raw table; of one that is made from arrays, those that the arrays stand in; of a sheet, the workbooks."""
    return {name: tables.get(source.file.first_sheet(source.file.root(name)), []) for name in source.file.tables}


def day_folders(raw_dir: Path) -> set[date]:
    """The days that have a folder as it lies there now: nothing is waited for, tidied up or complained of."""
    found = set()
    for entry in os.scandir(raw_dir) if raw_dir.is_dir() else ():
        if (named := _DAY_FOLDER.fullmatch(entry.name)) and is_folder(entry.path):
            with suppress(ValueError):
                found.add(date.fromisoformat(named[1]))
    return found


def _days(raw_dir: Path) -> dict[date, Path]:
    days = {}
    for entry in os.scandir(raw_dir) if raw_dir.is_dir() else ():
        if entry.name.startswith(".") or not is_folder(entry.path):
            continue
        try:
            day = date.fromisoformat(entry.name) if _DAY.fullmatch(entry.name) else None
        except ValueError:
            day = None
        if day is None:
            raise InputError(
                f"{entry.name!r} is not a day",
                where=entry.path,
                fix="name the folder YYYY-MM-DD after the day of the delivery, or move it elsewhere",
            )
        days[day] = Path(entry.path)
    return days


def file_matcher(source: Source) -> Callable[[str, str | Path], str | None]:
    """A function that tells the raw table a file belongs to by its name and folder; None when no table names it.

    Of a workbook that several raw tables are sheets of it is the first of these.

    The function raises an InputError for a file that two raw tables name.
    """
    patterns = {
        table: re.compile("|".join(translate(p) for f in raw.files for p in (f, f + ".gz")))
        for table, raw in source.file.tables.items()
        if raw.files and source.file.first_sheet(table) == table
    }

    def match(name: str, folder: str | Path) -> str | None:
        tables = [table for table, pattern in patterns.items() if pattern.match(name)]
        if len(tables) > 1:
            raise InputError(
                f"the raw tables {' and '.join(tables)} both name this file",
                where=f"{folder}/{name}",
                fix=f"make their `files` in {source.file.path} tell them apart",
            )
        return tables[0] if tables else None

    return match


def choose(directory: Path, source: Source) -> tuple[list[Given], tuple[str, ...]]:
    """The files of an export folder that raw tables name, and the names of the others; both in order.

    Raises:
        InputError: the folder does not exist or holds no file that a raw table names; two raw tables name one.
    """
    if not directory.is_dir():
        raise InputError("there is no such folder", where=directory, fix="give the folder of the export")
    match = file_matcher(source)
    given, left = [], []
    with explained(directory, 0):
        for entry in sorted(os.scandir(directory), key=lambda e: e.name):
            if entry.name.startswith("."):
                continue
            table = match(entry.name, directory)
            found = look_at(entry.path)
            if table and not found.fault:
                path = Path(entry.path)
                given.append(Given(entry.name, table, path, found.size, partial(read_chunks, path)))
            else:
                left.append(entry.name)
    if not given:
        patterns = ", ".join(f for raw in source.file.tables.values() for f in raw.files)
        raise InputError(
            f"holds no file of the source {source.name}",
            where=directory,
            fix=f"its files are named {patterns} (also with .gz); is this the right folder and source?",
        )
    return given, tuple(left)


def read_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def is_drop(given: Sequence[Given], folder: Path) -> bool:
    """Whether a drop consists of the very same files; contents are compared last, for they cost most."""
    there = {e.name: e for e in os.scandir(folder) if not e.name.startswith(".")}
    if there.keys() != {file.name for file in given}:
        return False
    found = {name: look_at(entry.path) for name, entry in there.items()}
    if any(found[file.name].fault or found[file.name].size != file.size for file in given):
        return False
    return all(
        _sha256(file.path, file.read()) == _sha256(drop := folder / file.name, read_chunks(drop)) for file in given
    )


def _sha256(path: Path, chunks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    with explained(path, 0):
        for chunk in chunks:
            digest.update(chunk)
    return digest.digest()


def _copy(given: Sequence[Given], target: Path, progress: Progress | None, size: int) -> None:
    """Copies and forces to disk; several files at a time, because each waits for the disk on its own."""
    done = 0

    def copy(file: Given) -> Iterator[int]:
        handle = os.open(target / file.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            for chunk in file.read():
                out.write(chunk)
                yield len(chunk)
            out.flush()
            os.fsync(out.fileno())

    def copied(file: Given) -> list[int]:
        return list(copy(file))

    # Large files one after the other, so that progress shows; small ones in parallel, for there may be thousands.
    for file in given:
        if file.size > 8 * _CHUNK:
            for count in copy(file):
                done += count
                if progress:
                    progress(done, size)
    with ThreadPoolExecutor(8) as pool:
        for counts in pool.map(copied, [file for file in given if file.size <= 8 * _CHUNK]):
            done += sum(counts)
            if progress:
                progress(done, size)
    sync(target)


def _sweep(raw_dir: Path) -> None:
    """Removes what a killed `land` left behind; a killed extract's is left to the next extract."""
    for entry in os.scandir(raw_dir):
        if re.match(rf"{INCOMING}\d", entry.name) and time.time() - entry.stat().st_mtime > _STALE:
            shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def explained(where: Path, size: int) -> Iterator[None]:
    """Turns what the operating system says into what the user can do.

    Args:
        where: the file or folder at work, for errors that name none.
        size: bytes that are to be written.
    """
    try:
        yield
    except OSError as error:
        place = error.filename or where
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                "the disk is full" + (f": the delivery takes {size:,} bytes" if size else ""),
                where=where,
                fix="free some space, or set ECOMMERCE_DATA_DIR to a larger disk, and land it again",
            ) from error
        raise InputError(
            f"cannot be read or written ({error.strerror})", where=place, fix="check that it exists and its rights"
        ) from error
