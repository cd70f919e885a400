"""Extracting a source's tables into one drop: what is new of each, from one moment, whole or not at all.

Tables with a watermark give the rows that changed since the last extract, looking back `lag_minutes` for those that were
committed late; what an earlier extract delivered already is left out. Tables without give themselves whole when they have
changed. Files are staged in a hidden folder below `raw/` and become the day's drop in one step (`swap`), so a process that
is killed, or a connection that is cut, leaves nothing behind that counts.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from ecommerce_platform.contracts.source import Extract, Source, extract_name
from ecommerce_platform.disk import sync
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.ingestion import swap
from ecommerce_platform.ingestion.extraction.connect import open_database
from ecommerce_platform.ingestion.extraction.database import (
    Column,
    ConnectionLost,
    Database,
    Selection,
    Table,
    refused,
)
from ecommerce_platform.ingestion.extraction.ledger import (
    KEY,
    Digest,
    Entry,
    Known,
    is_named_by_extract,
    newest,
    read_entry,
    unbroken,
    why_anew,
    window,
)
from ecommerce_platform.ingestion.extraction.staging import Rows, StagedFile, ahead
from ecommerce_platform.ingestion.landing import RawFile, explained, file_matcher, list_drops, open_raw

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow import RecordBatch

_log = logging.getLogger(__name__)
_STAGING = ".incoming-extract-"
_LOCK = ".extract.lock"
#: How far back an extract looks when `lag_minutes` is not given.
LAG_MINUTES = 15.0
#: Pauses in seconds before a lost connection is tried again.
PAUSES = (1.0, 5.0, 20.0, 60.0)
#: Snapshots of a table that later ones of the same day have replaced: so many stay in `.replaced/`.
KEEP_REPLACED = 3

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class TableExtract:
    """What an extract found of one table.

    `file` is the new file, with `rows` and `bytes`; None when there was nothing new. `since` is from when on a table with a
    watermark was read, on the watermark's clock; None says that all of it was. `notes` are worth knowing.
    """

    raw: str
    table: str
    rows: int = 0
    bytes: int = 0
    file: str | None = None
    since: datetime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extracted:
    """What an extract did. `folder` is the drop, None when nothing had changed; `tries` is how often it had to begin."""

    day: date
    folder: Path | None
    tables: tuple[TableExtract, ...]
    tries: int = 1
    replaced: Path | None = None


def extract(
    source: Source,
    raw_dir: Path,
    *,
    tables: Collection[str] = (),
    full: bool = False,
    scratch: Path | None = None,
    today: date | None = None,
    pauses: Sequence[float] = PAUSES,
    progress: Progress | None = None,
) -> Extracted:
    """Reads what is new out of a source's database and makes it a drop, or part of the day's drop.

    One extract at a time works on a folder of drops; another one waits.

    Args:
        source: says which database, and which tables.
        raw_dir: the folder of drops; created when missing.
        tables: raw tables to extract; default: all that have `extract`.
        full: reads tables with a watermark from the beginning, and delivers all tables even if they are unchanged.
        scratch: a folder for what does not fit into memory; default: the system's.
        today: the day of the drop; default: today in the shop's time zone.
        pauses: seconds to wait before each new try when the connection is lost.
        progress: called with a raw table, its rows so far and about how many there are.

    Raises:
        SettingsError: the source has no database; the environment does not say where it is; the driver is missing.
        InputError: a table or column is not there or may not be read; the disk is full.
        ConnectionLost: the database cannot be reached, after all tries.
    """
    chosen = _chosen(source, tables)
    with explained(raw_dir, 0):
        open_raw(raw_dir)
        if scratch:
            scratch.mkdir(parents=True, exist_ok=True)
        with _alone(raw_dir):
            _remove_leftovers(raw_dir)
            tries = 1
            while True:
                try:
                    work = _Extraction(source, raw_dir, chosen, full, scratch, today, progress)
                    return replace(work.run(), tries=tries)
                except ConnectionLost as error:
                    if tries > len(pauses):
                        raise
                    pause = pauses[tries - 1]
                    _log.warning("%s; trying again in %g s", str(error).partition("\n")[0], pause)
                    time.sleep(pause)
                    tries += 1


class _Extraction:
    """One try."""

    def __init__(
        self,
        source: Source,
        raw_dir: Path,
        chosen: dict[str, Extract],
        full: bool,
        scratch: Path | None,
        today: date | None,
        progress: Progress | None,
    ) -> None:
        self.source, self.raw_dir, self.chosen, self.full = source, raw_dir, chosen, full
        self.scratch, self.progress = scratch, progress
        self.zone = ZoneInfo(source.file.time_zone)
        self.files = list_drops(raw_dir, source).tables
        self.known = {raw: newest(raw, files) for raw, files in self.files.items()}
        entries = [known for known in self.known.values() if known]
        # A clock that went back must not make what is newer look older: the newest load wins.
        self.at = max(
            datetime.now(UTC).replace(tzinfo=None),
            *(known.entry.time + timedelta(microseconds=1) for known in entries),
            datetime.min,
        )
        self.day = max([today or datetime.now(self.zone).date(), *(known.file.day for known in entries)])

    def run(self) -> Extracted:
        """Reads all tables and puts what is new in its place."""
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.raw_dir))
        try:
            with _duckdb(self.scratch) as con, open_database(self.source.file) as database:
                done = tuple(self._table(con, database, raw, staging) for raw in self.chosen)
            if not any(table.file for table in done):
                return Extracted(self.day, None, done)
            sync(staging)
            replaced = swap.extend(staging, self.day, self.raw_dir, self._superseded(done))
            swap.tidy(self.raw_dir, _snapshot_of, KEEP_REPLACED)
            return Extracted(self.day, self.raw_dir / self.day.isoformat(), done, replaced=replaced)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _superseded(self, done: Sequence[TableExtract]) -> Callable[[str], bool]:
        """Which files of the day a new one takes the place of: those of tables that came whole."""
        whole = {t.raw for t in done if t.file and self.source.file.tables[t.raw].delivery == "full"}
        match = file_matcher(self.source)
        return lambda name: match(name, self.day.isoformat()) in whole

    def _table(self, con: DuckDBPyConnection, database: Database, raw: str, staging: Path) -> TableExtract:
        declared = self.chosen[raw]
        table = database.table(declared.table)
        rows = Rows(con, [column.name for column in table.columns])
        part = _Part(self, database, raw, declared, table, rows, staging / extract_name(raw, self.at))
        return part.delta() if declared.watermark else part.whole()


class _Part:
    """One table of a try."""

    def __init__(
        self, work: _Extraction, database: Database, raw: str, declared: Extract, table: Table, rows: Rows, path: Path
    ) -> None:
        self.work, self.database, self.raw, self.declared = work, database, raw, declared
        self.table, self.rows, self.path = table, rows, path
        self.names = [column.name for column in table.columns]
        self.files: list[RawFile] = work.files[raw]
        self.known: Known | None = work.known[raw]
        self.notes = list(table.notes)
        self.engine = f"duckdb {_duckdb_version()}"

    # -- tables that come whole

    def whole(self) -> TableExtract:
        """The whole table, if it has changed."""
        digest = Digest()
        staged = StagedFile(self.path, self.names)
        try:
            for batch in self._batches(Selection(order=self.table.key)):
                digest += self.rows.digest(batch)
                staged.write(batch)
            before = self._delivered_whole()
            same = before is not None and (before.entry.digest, before.entry.engine) == (str(digest), self.engine)
            same = same and before is not None and sorted(before.columns) == sorted(self.names)
            # A table that never had a row delivers nothing; one that lost all of them does, and silver says what to do.
            if (same and not self.work.full) or (not self.files and not digest.rows):
                staged.discard()
                return self._result()
            return self._delivered(staged, self._entry("full", digest.rows, digest=str(digest)))
        except BaseException:
            staged.discard()
            raise

    def _delivered_whole(self) -> Known | None:
        """The newest delivery of the table, if an extract made it alone."""
        if not self.known or self.known.entry.kind != "full" or self.known.entry.table != self.declared.table:
            return None
        return self.known if [f for f in self.files if f.day >= self.known.file.day] == [self.known.file] else None

    # -- tables with a watermark

    def delta(self) -> TableExtract:
        """The rows that changed since the last extract."""
        column = self._column(self.declared.watermark or "", "watermark")
        if column.clock is None:
            raise refused(
                f"the watermark {column.name} of {self.declared.table} is of the type {column.type}, which is no time",
                self.database.address,
                "name a column with the time of the last change, or leave the watermark out and say `delivery: full`",
            )
        ids = self._ids()
        known = self._chain()
        utc = self.database.utc_now()
        now = utc if column.clock == "instant" else self.database.local(utc)
        mark = known.entry.read_to if known else None
        since = min(mark, now) - self._lag(column, known, utc) if known and mark else None
        reached = self.database.newest(self.table, column, since, now)
        mark = max((at for at in (mark, reached) if at is not None), default=None)
        order = (column.name, *(name for name in ids if name != column.name))

        staged = StagedFile(self.path, self.names)
        try:
            seen = self._see(column, ids, known, since)
            for batch in self._batches(Selection(order, column, since)):
                staged.write(self.rows.without_seen(batch) if seen else batch)
            unset, count = self._unset(column, ids, known, staged)
            if not staged.rows:
                staged.discard()
                return self._result(since=since)
            if count:
                self.notes.append(f"{count:,} rows have no {column.name}: all of them come again when one changes")
            self._warn_of_later_files()
            entry = self._entry("delta", staged.rows)
            entry = replace(
                entry,
                watermark=column.name,
                id=ids,
                since=since.isoformat() if since else None,
                mark=mark.isoformat() if mark else None,
                unset=unset,
                number=known.entry.number + 1 if known else 1,
                base=(known.entry.base or f"{known.file.day}/{known.file.name}") if known else None,
            )
            return self._delivered(staged, entry, since)
        except BaseException:
            staged.discard()
            raise

    def _ids(self) -> tuple[str, ...]:
        """The columns that tell rows apart: without, one of two equal rows would be taken for delivered."""
        if self.declared.id:
            return (self._column(self.declared.id, "id").name,)
        if self.table.key and set(self.table.key) <= set(self.names):
            return self.table.key
        raise refused(
            f"{self.declared.table} has a watermark but no primary key",
            self.database.address,
            f"name a column that tells its rows apart as `extract.id` of {self.raw} in source.yml, or leave out the "
            "watermark and say `delivery: full`",
        )

    def _chain(self) -> Known | None:
        """What to go on from; None to begin anew."""
        if self.known is None or self.work.full:
            return None
        why = why_anew(self.known, self.declared, self.names)
        if why is None and not unbroken(self.known, self.files):
            why = "one of its earlier extracts is no longer among the drops"
        if why:
            self.notes.append(f"read from the beginning: {why}")
            return None
        return self.known

    def _lag(self, column: Column, known: Known, utc: datetime) -> timedelta:
        """How far to look back: as long as a transaction may take, and as far as the clock has gone back since."""
        minutes = LAG_MINUTES if self.declared.lag_minutes is None else self.declared.lag_minutes
        lag = timedelta(minutes=minutes)
        if column.clock != "instant":

            def offset(at: datetime) -> timedelta:
                return at.replace(tzinfo=UTC).astimezone(self.work.zone).utcoffset() or timedelta()

            lag += max(timedelta(), offset(known.entry.time - lag) - offset(utc))
        return lag

    def _see(self, column: Column, ids: Sequence[str], known: Known | None, since: datetime | None) -> bool:
        """Notes the fingerprints of the rows that earlier extracts delivered for the time that is read again."""
        from ecommerce_platform.contracts.ddl import quote
        from ecommerce_platform.ingestion.readers import as_glob

        if known is None or since is None or len({name.lower() for name in self.names}) < len(self.names):
            return False
        name = quote(column.name)
        if column.clock == "date":
            recent = f"try_cast(left({name}, 10) as date) >= date '{since:%Y-%m-%d}'"
        elif column.clock == "instant" and self.database.zoned:
            recent = f"try_cast({name} as timestamptz) >= timestamptz '{since.isoformat(sep=' ')}+00'"
        elif column.clock == "instant":
            # On the shop's clock, an hour of which may stand for two.
            start = self.database.local(since) - timedelta(hours=1)
            recent = f"try_cast({name} as timestamp) >= timestamp '{start.isoformat(sep=' ')}'"
        else:
            recent = f"try_cast({name} as timestamp) >= timestamp '{since.isoformat(sep=' ')}'"
        # Of a row that was delivered more than once the last version counts: only that is what drops hold of it now.
        unique = ", ".join(quote(name) for name in ids)
        last = f"qualify row_number() over (partition by {unique} order by file_index desc, file_row_number desc) = 1"
        files = window(known, self.files, since)
        columns = [c for c in known.columns if c in self.names]
        if sorted(columns) != self.rows.names:
            return False
        self.rows.con.execute(
            f"create or replace table seen as select {Rows.fingerprint([quote(n) for n in self.rows.names])} as h "
            f"from read_parquet($paths, union_by_name = true, hive_partitioning = false, file_row_number = true) "
            f"where coalesce({recent}, true) {last}",
            {"paths": [as_glob(path) for path in files]},
        )
        return True

    def _unset(self, column: Column, ids: Sequence[str], known: Known | None, staged: StagedFile) -> tuple[str, int]:
        """Adds the rows without a watermark, all of them, if one has changed; their digest and number."""
        digest = Digest()
        if not column.nullable and self.database.strict:
            return str(digest), 0
        selection = Selection(tuple(ids), column, unset=True)
        for batch in self._batches(selection):
            digest += self.rows.digest(batch)
        before = known.entry.unset if known and known.entry.engine == self.engine else None
        if str(digest) == (before or str(Digest())):
            return str(digest), 0
        digest = Digest()
        for batch in self._batches(selection):
            digest += self.rows.digest(batch)
            staged.write(batch)
        return str(digest), digest.rows

    def _warn_of_later_files(self) -> None:
        """Within a day the last file wins: says when one that was landed by hand comes after the extract's."""
        later = [f.name for f in self.files if f.day == self.work.day and f.name > self.path.name]
        if later:
            self.notes.append(
                f"{', '.join(later)} of {self.work.day} come after the extract in order, so their rows win"
            )

    # -- what both have in common

    def _column(self, name: str, role: str) -> Column:
        if found := self.table.column(name):
            return found
        raise refused(
            f"{self.declared.table} has no column {name!r}, which is its {role}",
            self.database.address,
            f"correct `extract.{role}` of {self.raw} in source.yml; there are {', '.join(self.names)}",
        )

    def _batches(self, selection: Selection) -> Iterator[RecordBatch]:
        read = 0
        for batch in ahead(self.database.read(self.table, selection)):
            read += batch.num_rows
            if self.work.progress:
                self.work.progress(self.raw, read, self.table.rows if selection.since is None else None)
            yield batch

    def _entry(self, kind: str, rows: int, digest: str | None = None) -> Entry:
        assert kind in ("full", "delta")
        return Entry(
            raw=self.raw,
            kind="full" if kind == "full" else "delta",
            table=self.declared.table,
            extracted_at=self.work.at.isoformat(),
            engine=self.engine,
            rows=rows,
            digest=digest,
        )

    def _delivered(self, staged: StagedFile, entry: Entry, since: datetime | None = None) -> TableExtract:
        size = staged.finish(KEY, entry.footer())
        return replace(self._result(since), rows=entry.rows, bytes=size, file=self.path.name)

    def _result(self, since: datetime | None = None) -> TableExtract:
        return TableExtract(self.raw, self.declared.table, since=since, notes=tuple(self.notes))


def _chosen(source: Source, tables: Collection[str]) -> dict[str, Extract]:
    extracts = source.file.extracts
    if not source.file.database:
        raise SettingsError(
            f"the source {source.name} has no database",
            where=source.file.path,
            fix="add `database` and `extract` to its source.yml (docs/databases.md), or land files with `ecommerce land`",
        )
    if unknown := sorted(set(tables) - extracts.keys()):
        raise InputError(
            f"{', '.join(unknown)} is not read from the database", where="--table", fix=f"use {', '.join(extracts)}"
        )
    return {raw: extract for raw, extract in extracts.items() if not tables or raw in tables}


def _snapshot_of(file: Path) -> str | None:
    """The raw table of which a file is a snapshot that an extract has written."""
    raw = file.name.rpartition("_")[0]
    if not is_named_by_extract(raw, file.name) or (found := read_entry(file)) is None:
        return None
    return raw if found[0].kind == "full" else None


def _remove_leftovers(raw_dir: Path) -> None:
    """Removes what killed extracts have left: no other one is at work."""
    for entry in os.scandir(raw_dir):
        if entry.name.startswith(_STAGING):
            shutil.rmtree(entry.path, ignore_errors=True)


@contextmanager
def _alone(raw_dir: Path) -> Iterator[None]:
    """Keeps other extracts waiting, and says for whom this one waits."""
    with (raw_dir / _LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            _log.info("waiting for another extract into %s (process %s)", raw_dir, file.read().strip() or "unknown")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _duckdb(scratch: Path | None) -> Generator[DuckDBPyConnection]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="extract-", dir=scratch) as folder:
        con = duckdb.connect(config={"memory_limit": "512MB", "threads": 2, "temp_directory": folder})
        try:
            con.execute("set timezone = 'UTC'")
            yield con
        finally:
            con.close()


def _duckdb_version() -> str:
    import duckdb

    return str(duckdb.__version__)
