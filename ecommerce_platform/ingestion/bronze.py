"""Loading delivered files into `bronze`: all of one raw table's chosen days in one transaction.

Afterwards `bronze.<source>__<raw table>`, `bronze.rejects` and `bronze.files` hold for these days exactly what
the files deliver: every line is a row, part of one, or a reject. `landing` brings the files, `loader`
reads them; what their values mean begins in silver.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.source import RawTable, Source
from ecommerce_platform.errors import InputError, PassingError, SettingsError
from ecommerce_platform.ingestion.delivery import Delivery, FileLoad
from ecommerce_platform.ingestion.explode import explode
from ecommerce_platform.ingestion.landing import Drops, RawFile
from ecommerce_platform.ingestion.loader import Loader, ScanFailed
from ecommerce_platform.ingestion.pending import (
    Held,
    book,
    held_files,
    note_seen,
    pending_days,
    read_as,
    same_days,
    sha256_of,
)
from ecommerce_platform.ingestion.readers import as_glob
from ecommerce_platform.ingestion.rejects import Reject, RejectFile
from ecommerce_platform.ingestion.schema import note_columns, objection
from ecommerce_platform.ingestion.sniff import Shape, Unusable, read_head, sniff
from ecommerce_platform.ingestion.target import Target
from ecommerce_platform.ingestion.workbook import unpack
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ingestion.zone import Zone

__all__ = [
    "BronzeLoad", "FileLoad", "copies", "load_bronze", "load_pending", "pending_days", "repeated_files",
    "repeated_records",
]  # fmt: skip

#: Files of fewer records may hold the same ones by chance.
_FEWEST_ALIKE = 5


@dataclass(frozen=True)
class BronzeLoad:
    """What a load did to one bronze table.

    Rows written and removed, columns that the table did not have before, and what became of each file.
    """

    table: str
    rows_inserted: int
    rows_deleted: int
    columns_added: tuple[str, ...]
    files: tuple[FileLoad, ...]

    @property
    def rows_rejected(self) -> int:
        """Entries in `bronze.rejects`."""
        return sum(file.rejected for file in self.files)

    @property
    def rows_per_day(self) -> dict[date, tuple[int, int]]:
        """Rows loaded and entries rejected by day, for days that have files."""
        days: dict[date, tuple[int, int]] = {}
        for file in self.files:
            loaded, rejected = days.get(file.day, (0, 0))
            days[file.day] = (loaded + file.rows, rejected + file.rejected)
        return days

    @property
    def problems(self) -> list[tuple[str, str]]:
        """File, as `<day>/<name>`, and problem; without mere notes."""
        return [(f"{f.day}/{f.name}", f.problem) for f in self.files if f.problem and not f.note]

    @property
    def notes(self) -> list[tuple[str, str]]:
        """File, as `<day>/<name>`, and what is worth knowing about it."""
        return [(f"{f.day}/{f.name}", f.problem) for f in self.files if f.problem and f.note]


def load_pending(
    connect: Callable[[], AbstractContextManager[DuckDBPyConnection]],
    zone: Zone,
    drops: Drops,
    source: Source,
    raw_table: str,
    asked: Collection[date] | None,
    again: Collection[date],
    *,
    expected: Sequence[str],
    required: Mapping[str, str],
    scratch: Path,
    log: Callable[[str], Any] | None = None,
) -> tuple[set[date], BronzeLoad]:
    """Loads what is pending of one raw table; files that lie elsewhere are fetched while the warehouse is free.

    Args:
        connect: opens the warehouse.
        zone: hands over the files.
        drops: what it has listed; days in the middle of an upload stay as they were loaded.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table to load.
        asked: days that may be loaded; others wait for the run that asks for them. None for all.
        again: days to load whether or not they are pending.
        expected, required, scratch: as `load_bronze` takes them.
        log: told what was fetched.

    Returns:
        The days that were loaded, and what that did.

    Raises:
        PassingError: another run loaded these days while their files were being fetched; also as `load_bronze`.
    """
    files = drops.tables[raw_table]

    def load(con: DuckDBPyConnection, files: Sequence[RawFile]) -> BronzeLoad:
        return load_bronze(
            con, source, raw_table, files, days, expected=expected, required=required, scratch=scratch
        )  # fmt: skip

    with connect() as con:
        pending = pending_days(con, source, raw_table, files)
        days = ((pending if asked is None else pending & set(asked)) | set(again)) - drops.unfinished
        # A table that is made from arrays needs no files: what bronze holds of the table around them counts.
        exploded = source.file.tables[raw_table].explode
        needed = [] if exploded else [file for file in files if file.day in days]
        if not any(file.url for file in needed):
            return days, load(con, needed)
        before = held_files(con, source, raw_table)
    version = read_as(source.file, raw_table)
    with zone.fetched(needed, scratch, log) as fetched:
        # Copied within a store, or to another one, an object has another etag and the same bytes.
        same = same_days(before, (file for file in fetched if file.day not in again), version)
        with connect() as con:
            _held_as_before(con, source, raw_table, before, days, zone)
            note_seen(con, raw_table, [file for file in fetched if file.day in same])
            days -= same
            return days, load(con, [file for file in fetched if file.day in days])


def _held_as_before(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    before: Mapping[date, Mapping[str, Held]],
    days: Collection[date],
    zone: Zone,
) -> None:
    """Refuses to go on when what bronze holds has changed while files were fetched."""
    now = held_files(con, source, raw_table)
    if any(before.get(day) != now.get(day) for day in days):
        # What was loaded may be newer than what was fetched, and an older version must not replace a newer one.
        raise PassingError(
            f"another run has loaded these days of {raw_table} meanwhile",
            where=zone.where,
            fix="list the drops again and load what is still pending",
        )


def load_bronze(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    files: Sequence[RawFile],
    days: Collection[date],
    *,
    expected: Sequence[str],
    required: Mapping[str, str],
    scratch: Path,
    once: bool = True,
) -> BronzeLoad:
    """Makes bronze hold for `days` exactly what `files` deliver for them; other days stay as they are.

    The result depends on the files alone, not on what was loaded before or together with them (but for
    `bronze.files.loaded_at`, for the order of columns, and for how a column is spelled that deliveries write in
    different case). A failure leaves everything as it was.

    Args:
        con: the warehouse, outside a transaction.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table to load.
        files: its files; those of other days are ignored. A day without files ends up empty. Of a table that is made from
            arrays what bronze holds of the table around them counts instead.
        days: the days to load.
        expected: columns that exist in any case, null where a delivery lacks them.
        required: columns without which a file counts as faulty (its rows are loaded all the same), and the
            canonical column that each is needed for.
        scratch: a folder for temporary files, on a disk with room for what is compressed; left as it was.
        once: of files of a day with the same bytes, only the first by name is read; the others are named.

    Raises:
        InputError: a file is gone, cannot be read or changes while it is loaded; the disk is full.
        SettingsError: DuckDB is set not to keep the order of rows.
    """
    _check_order(con)
    wanted = set(days)
    if source.file.tables[raw_table].explode:
        with transaction(con):
            return _explode(con, source, raw_table, wanted, expected, required)
    chosen = sorted(file for file in files if file.day in wanted)
    with _explained(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="bronze-", dir=scratch) as folder:
            deliveries = _examine_all(chosen, source, raw_table, expected, Path(folder), once)
            while True:
                arrays = source.file.arrays_in(raw_table)
                target = Target(con, source.bronze_table(raw_table), expected, arrays=arrays)
                loader = Loader(con, target, Path(folder))
                try:
                    with transaction(con):
                        return _load(con, source, raw_table, wanted, target, loader, deliveries, required)
                except ScanFailed as failed:
                    loader.find_culprits(failed)
                finally:
                    loader.close()


def _examine_all(
    files: Sequence[RawFile], source: Source, raw_table: str, expected: Sequence[str], scratch: Path, once: bool
) -> list[Delivery]:
    for file in files:
        _check_unchanged(file)
    first: dict[tuple[date, str], RawFile] = {}
    deliveries = []
    for number, (file, digest) in enumerate(zip(files, sha256_of(files), strict=True), start=1):
        original = first.setdefault((file.day, digest), file) if digest else file
        found: Shape | Unusable
        if file.fault:
            found = Unusable("unreadable", file.fault)
        elif once and original is not file and file.size:
            said = f"note: the same bytes as {original.name}, which is used once"
            found = Unusable("copy", said)
        else:
            found = sniff(read_head(file.path), source.file.tables[raw_table], expected)
        made = scratch / f"{number}.csv" if isinstance(found, Shape) and found.format == "xlsx" else None
        if made:
            found = unpack(file.path, source.file.tables[raw_table], made)
        shape, unusable = (None, found) if isinstance(found, Unusable) else (found, None)
        rejects = RejectFile(scratch / f"{number}.rejects")
        deliveries.append(Delivery(number, file, shape, unusable, rejects, digest, made=made))
    return deliveries


def _load(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    days: set[date],
    target: Target,
    loader: Loader,
    deliveries: Sequence[Delivery],
    required: Mapping[str, str],
) -> BronzeLoad:
    """The whole load, within the transaction."""
    for delivery in deliveries:
        delivery.start_again()
    delivered = [column for d in deliveries if d.shape for column in d.shape.columns]
    target.clear(days, [*delivered, *target.expected])
    loader.load(deliveries)
    for delivery in deliveries:
        _check_unchanged(delivery.file)
    raw = source.file.tables[raw_table]
    for delivery in deliveries:
        _hold_to_agreement(con, raw, target, delivery)
    columns = {(d.file.day, d.file.name): d.columns for d in deliveries if d.columns and not d.unusable}
    note_columns(con, raw_table, target.table, days, columns)
    loads = tuple(d.outcome(source.file.tables[raw_table], required, target.expected) for d in deliveries)
    _keep_books(con, raw_table, read_as(source.file, raw_table), days, deliveries, loads, _contents(con, target, days))
    for table in (target.name, "files", "columns", "rejects") if days else ():
        record_change(con, f"bronze.{table}")
    return BronzeLoad(
        table=f"bronze.{target.name}",
        rows_inserted=sum(load.rows for load in loads),
        rows_deleted=target.deleted,
        columns_added=tuple(target.added),
        files=loads,
    )


def _explode(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    days: set[date],
    expected: Sequence[str],
    required: Mapping[str, str],
) -> BronzeLoad:
    """The whole load of a table that is made from arrays, within the transaction."""
    exploded = explode(con, source, raw_table, days, expected=expected, required=required)
    target = exploded.target
    columns = {(load.day, load.name): load.columns for load in exploded.files if load.columns}
    note_columns(con, raw_table, target.table, days, columns)
    contents = _contents(con, target, days)
    _book_exploded(con, source, raw_table, exploded.files, contents)
    for table in (target.name, "files", "columns", "rejects", "empty_arrays") if days else ():
        record_change(con, f"bronze.{table}")
    return BronzeLoad(
        table=f"bronze.{target.name}",
        rows_inserted=sum(load.rows for load in exploded.files),
        rows_deleted=target.deleted,
        columns_added=tuple(target.added),
        files=exploded.files,
    )


def _book_exploded(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    loads: Sequence[FileLoad],
    contents: Mapping[tuple[date, str], tuple[int, str]],
) -> None:
    """Notes the files that an exploded table's elements came in, as the table around them has them."""
    path = source.file.tables[raw_table].exploded
    if not loads or path is None:
        return
    rows = [
        (load.day, load.name, load.rows, load.rejected, *contents.get((load.day, load.name), (0, None)), load.problem)
        for load in loads
    ]
    types = {
        "day": "date", "name": "varchar", "rows_loaded": "bigint", "rows_rejected": "bigint", "rows_repeated": "bigint",
        "content": "varchar", "problem": "varchar",
    }  # fmt: skip
    columns = ", ".join(f"unnest(${name}::{type}[]) as {name}" for name, type in types.items())
    con.execute(
        "insert into bronze.files by name select $raw as raw_table, f._load_date, f._source_file, f.size_bytes, f.modified_ns, "
        "f.sha256, f.sha256_learnt, f.format, n.rows_loaded, n.rows_rejected, n.rows_repeated, n.content, n.problem, "
        f"$read_as as read_as, f.loaded_at from bronze.files as f inner join (select {columns}) as n "
        "on f._load_date = n.day and f._source_file = n.name where f.raw_table = $around",
        {
            **dict(zip(types, map(list, zip(*rows, strict=True)), strict=True)),
            "raw": raw_table,
            "around": path.table,
            "read_as": read_as(source.file, raw_table),
        },
    )


def _hold_to_agreement(con: DuckDBPyConnection, raw: RawTable, target: Target, delivery: Delivery) -> None:
    """Leaves out a file whose columns are not those agreed on, where source.yml asks for that.

    Raises:
        InputError: source.yml asks for the load to fail.
    """
    file = delivery.file
    if delivery.is_copy:
        return
    against = objection(con, target.table, raw, file.day, file.name, () if delivery.unusable else delivery.columns)
    if against is None:
        return
    policy, reason = against
    fix = "have it delivered as agreed, or change `columns` or `on_drift` of this table in source.yml"
    if policy == "fail":
        raise InputError(f"{reason}; source.yml says that such a load fails", where=file.path, fix=fix)
    target.remove(delivery)
    delivery.unusable = Unusable("drifted", f"the file is left out: {reason}; {fix}")
    delivery.rejects.add(Reject(None, "schema_drift", delivery.unusable.text))
    delivery.rejects.close()


def repeated_records(con: DuckDBPyConnection, raw_table: str) -> list[tuple[date, str, int]]:
    """Day, file and number of the records that stand in a file a second time, of all loads."""
    return con.execute(
        "select _load_date, _source_file, rows_repeated from bronze.files where raw_table = ? and rows_repeated > 0 order by all",
        [raw_table],
    ).fetchall()


def copies(con: DuckDBPyConnection, raw_table: str) -> set[tuple[date, str]]:
    """Day and name of the files whose bytes are those of another file of their day, and which were not read for that."""
    rows = con.execute(
        "select f._load_date, f._source_file from bronze.files as f inner join bronze.files as e on e.raw_table = f.raw_table "
        "and e._load_date = f._load_date and e.sha256 = f.sha256 and e._source_file < f._source_file where f.raw_table = ?",
        [raw_table],
    ).fetchall()
    return set(rows)


def repeated_files(con: DuckDBPyConnection, raw_table: str, raw: RawTable) -> list[tuple[date, str, date, str]]:
    """Day and file of what holds the same records as an earlier file, and that one's day and name.

    A full delivery may well be the same as the one before it, but not as one before that: it is out of date. What an
    extract reads again for late rows is no mistake. A few records may be the same by chance.
    """
    if raw.extract and raw.extract.watermark:
        return []
    rows = con.execute(
        "select f._load_date, f._source_file, e._load_date, e._source_file, "
        "(select max(_load_date) from bronze.files where raw_table = $raw and _load_date < f._load_date) "
        "from bronze.files as f inner join bronze.files as e on e.raw_table = f.raw_table and e.content = f.content "
        "and e.rows_loaded = f.rows_loaded and (e._load_date, e._source_file) < (f._load_date, f._source_file) "
        f"where f.raw_table = $raw and f.rows_loaded >= {_FEWEST_ALIKE} order by all",
        {"raw": raw_table},
    ).fetchall()
    if raw.delivery == "full":
        before = {(day, file) for day, file, earlier, _, last in rows if earlier in (day, last)}
        rows = [row for row in rows if (row[0], row[1]) not in before]
    latest = {(day, file): (day, file, earlier, name) for day, file, earlier, name, _ in rows}
    return list(latest.values())


def _contents(con: DuckDBPyConnection, target: Target, days: set[date]) -> dict[tuple[date, str], tuple[int, str]]:
    """(day, file) → how many of its records stand in it a second time, and a sum over the hashes of its records."""
    rows = con.execute(
        "select _load_date, _source_file, count(*) - count(distinct _row_hash), "
        f"cast(sum(cast(_row_hash as hugeint)) as varchar) from {target.table} "
        "where _load_date in (select unnest($days)) group by all",
        {"days": sorted(days)},
    ).fetchall()
    return {(day, file): (int(repeated), content) for day, file, repeated, content in rows}


def _keep_books(
    con: DuckDBPyConnection,
    raw_table: str,
    version: str,
    days: set[date],
    deliveries: Sequence[Delivery],
    loads: Sequence[FileLoad],
    contents: Mapping[tuple[date, str], tuple[int, str]],
) -> None:
    """Replaces what `bronze.rejects` and `bronze.files` say about these days."""
    for name in ("rejects", "files"):
        ensure_table(con, book(name))
        con.execute(
            f"delete from bronze.{name} where raw_table = $raw and _load_date in (select unnest($days))",
            {"raw": raw_table, "days": sorted(days)},
        )
    _book_rejects(con, raw_table, [d for d in deliveries if d.rejects.count])
    if deliveries:
        _book_files(con, raw_table, version, deliveries, loads, contents)


def _book_rejects(con: DuckDBPyConnection, raw_table: str, deliveries: Sequence[Delivery]) -> None:
    if not deliveries:
        return
    con.execute(
        """
        insert into bronze.rejects by name
        select
          $raw as raw_table,
          $days[file_index::bigint + 1] as _load_date,
          $names[file_index::bigint + 1] as _source_file,
          reject_number, line, reason_code, reason, raw_text
        from read_json(
          $paths,
          format = 'newline_delimited',
          columns = {
            reject_number: 'BIGINT', line: 'BIGINT', reason_code: 'VARCHAR', reason: 'VARCHAR', raw_text: 'VARCHAR'
          },
          compression = 'none', hive_partitioning = false, maximum_object_size = 1000000
        )
        """,
        {
            "raw": raw_table,
            "days": [d.file.day for d in deliveries],
            "names": [d.file.name for d in deliveries],
            "paths": [as_glob(d.rejects.path) for d in deliveries],
        },
    )


#: What is noted of a file besides its raw table, how it is read and when it was loaded: column → type.
_BOOKED = {
    "_load_date": "date", "_source_file": "varchar", "size_bytes": "bigint", "modified_ns": "bigint", "sha256": "varchar",
    "format": "varchar", "rows_loaded": "bigint", "rows_rejected": "bigint", "rows_repeated": "bigint", "content": "varchar",
    "problem": "varchar",
}  # fmt: skip


def _book_files(
    con: DuckDBPyConnection,
    raw_table: str,
    version: str,
    deliveries: Sequence[Delivery],
    loads: Sequence[FileLoad],
    contents: Mapping[tuple[date, str], tuple[int, str]],
) -> None:
    rows = [
        (
            d.file.day, d.file.name, d.file.size, d.file.mtime_ns, d.sha256, load.format, load.rows, load.rejected,
            *contents.get((d.file.day, d.file.name), (0, None)), load.problem,
        )
        for d, load in zip(deliveries, loads, strict=True)
    ]  # fmt: skip
    columns = ", ".join(f"unnest(${name}::{type}[]) as {name}" for name, type in _BOOKED.items())
    con.execute(
        f"insert into bronze.files by name select $raw as raw_table, {columns}, false as sha256_learnt, "
        "$read_as as read_as, $now::timestamp as loaded_at",
        {
            **dict(zip(_BOOKED, map(list, zip(*rows, strict=True)), strict=True)),
            "raw": raw_table,
            "read_as": version,
            "now": datetime.now(),
        },
    )


def _check_unchanged(file: RawFile) -> None:
    if file.fault:
        return
    try:
        stat = file.path.stat()
    except FileNotFoundError:
        raise PassingError("the file is gone", where=file.where, fix="list the drops again and load again") from None
    modified = file.mtime_ns if file.copied_ns is None else file.copied_ns
    if (stat.st_size, stat.st_mtime_ns) != (file.size, modified):
        raise PassingError(
            "the file changes while it is loaded",
            where=file.where,
            fix="wait until it is complete and load again; `ecommerce land` only ever puts whole drops there",
        )


def _check_order(con: DuckDBPyConnection) -> None:
    row = con.execute("select current_setting('preserve_insertion_order')").fetchone()
    if row is None or not row[0]:
        raise SettingsError(
            "rows would lose their place in their file",
            where="preserve_insertion_order",
            fix="leave this setting of DuckDB on",
        )


@contextmanager
def _explained(scratch: Path) -> Iterator[None]:
    """Turns what the operating system says into what the user can do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                "the disk is full while files are unpacked",
                where=scratch,
                fix="free some space, or set ECOMMERCE_DATA_DIR to a larger disk, and load again",
            ) from error
        raise PassingError(
            f"cannot be read ({error.strerror})",
            where=error.filename or scratch,
            fix="check that it exists and its rights",
        ) from error
