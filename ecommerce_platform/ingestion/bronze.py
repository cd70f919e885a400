"""Loading delivered files into `bronze`: all of one raw table's chosen days in one transaction.

Afterwards `bronze.<source>__<raw table>`, `bronze.rejects` and `bronze.files` hold for these days exactly what
the files deliver: every line is a row, part of one, or a reject. Where files come from is `landing`'s business,
how they are read is `loader`'s; what their values mean begins in silver.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.contracts.contract import Contract, read_contract
from ecommerce_platform.contracts.source import RawTable, Source
from ecommerce_platform.errors import InputError, PassingError, SettingsError
from ecommerce_platform.ingestion.delivery import Delivery, FileLoad
from ecommerce_platform.ingestion.landing import Drops, RawFile
from ecommerce_platform.ingestion.loader import Loader, ScanFailed
from ecommerce_platform.ingestion.readers import as_glob
from ecommerce_platform.ingestion.rejects import Reject, RejectFile
from ecommerce_platform.ingestion.schema import note_columns, objection
from ecommerce_platform.ingestion.sniff import Unusable, read_head, sniff
from ecommerce_platform.ingestion.target import Target
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ingestion.zone import Zone

__all__ = [
    "BronzeLoad", "FileLoad", "load_bronze", "load_pending", "pending_days", "repeated_files", "repeated_records",
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


def pending_days(con: DuckDBPyConnection, source: Source, raw_table: str, files: Sequence[RawFile]) -> set[date]:
    """Days whose files are not those that were loaded: new, changed, removed, or to be read in another way now.

    Args:
        con: the warehouse; its tables may be missing.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table.
        files: its files in all drops.
    """
    version = _read_as(source.file.tables[raw_table])
    there: dict[date, set[tuple[str, int, int, str]]] = {}
    for file in files:
        there.setdefault(file.day, set()).add((file.name, file.size, file.mtime_ns, version))
    loaded = _loaded_files(con, source, raw_table)
    return {day for day in there.keys() | loaded.keys() if there.get(day) != loaded.get(day)}


def _loaded_files(
    con: DuckDBPyConnection, source: Source, raw_table: str
) -> dict[date, set[tuple[str, int, int, str]]]:
    """Name, size, time and way of reading of the files that bronze holds, by day."""
    version = _read_as(source.file.tables[raw_table])
    loaded: dict[date, set[tuple[str, int, int, str]]] = {}
    if table_exists(con, "bronze", "files") and table_exists(con, "bronze", source.bronze_table(raw_table)):
        ensure_table(con, _book("files"))
        rows = con.execute(
            "select _load_date, _source_file, size_bytes, modified_ns, coalesce(read_as, $version) from bronze.files "
            "where raw_table = $raw",
            {"raw": raw_table, "version": version},
        ).fetchall()
        for day, name, size, modified, read_as in rows:
            loaded.setdefault(day, set()).add((name, size, modified, read_as))
    return loaded


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
        needed = [file for file in files if file.day in days]
        if not any(file.url for file in needed):
            return days, load(con, needed)
        before = _loaded_files(con, source, raw_table)
    with zone.fetched(needed, scratch, log) as fetched, connect() as con:
        now = _loaded_files(con, source, raw_table)
        if any(before.get(day) != now.get(day) for day in days):
            # What was loaded may be newer than what was fetched, and an older version must not replace a newer one.
            raise PassingError(
                f"another run has loaded these days of {raw_table} meanwhile",
                where=zone.where,
                fix="list the drops again and load what is still pending",
            )
        return days, load(con, fetched)


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
) -> BronzeLoad:
    """Makes bronze hold for `days` exactly what `files` deliver for them; other days stay as they are.

    The result depends on the files alone, not on what was loaded before or together with them (but for
    `bronze.files.loaded_at`, for the order of columns, and for how a column is spelled that deliveries write in
    different case). A failure leaves everything as it was.

    Args:
        con: the warehouse, outside a transaction.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table to load.
        files: its files; those of other days are ignored. A day without files ends up empty.
        days: the days to load.
        expected: columns that exist in any case, null where a delivery lacks them.
        required: columns without which a file counts as faulty (its rows are loaded all the same), and the
            canonical column that each is needed for.
        scratch: a folder for temporary files, on a disk with room for what is compressed; left as it was.

    Raises:
        InputError: a file is gone, cannot be read or changes while it is loaded; the disk is full.
        SettingsError: DuckDB is set not to keep the order of rows.
    """
    _check_order(con)
    wanted = set(days)
    chosen = sorted(file for file in files if file.day in wanted)
    with _explained(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="bronze-", dir=scratch) as folder:
            deliveries = [
                _examine(number, file, source, raw_table, expected, Path(folder))
                for number, file in enumerate(chosen, start=1)
            ]
            while True:
                target = Target(con, source.bronze_table(raw_table), expected)
                loader = Loader(con, target, Path(folder))
                try:
                    with transaction(con):
                        return _load(con, source, raw_table, wanted, target, loader, deliveries, required)
                except ScanFailed as failed:
                    loader.find_culprits(failed)
                finally:
                    loader.close()


def _examine(
    number: int, file: RawFile, source: Source, raw_table: str, expected: Sequence[str], scratch: Path
) -> Delivery:
    _check_unchanged(file)
    found = sniff(read_head(file.path), source.file.tables[raw_table], expected)
    shape, unusable = (None, found) if isinstance(found, Unusable) else (found, None)
    return Delivery(number, file, shape, unusable, RejectFile(scratch / f"{number}.rejects"))


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
    _keep_books(con, raw_table, raw, days, deliveries, loads, _contents(con, target, days))
    for table in (target.name, "files", "columns", "rejects") if days else ():
        record_change(con, f"bronze.{table}")
    return BronzeLoad(
        table=f"bronze.{target.name}",
        rows_inserted=sum(load.rows for load in loads),
        rows_deleted=target.deleted,
        columns_added=tuple(target.added),
        files=loads,
    )


def _hold_to_agreement(con: DuckDBPyConnection, raw: RawTable, target: Target, delivery: Delivery) -> None:
    """Leaves out a file whose columns are not those agreed on, where source.yml asks for that.

    Raises:
        InputError: source.yml asks for the load to fail.
    """
    file = delivery.file
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


def _read_as(raw: RawTable) -> str:
    """Hash of all that source.yml says about how a file is read; another one has it loaded again."""
    said = raw.model_dump(include={"format", "delimiter", "encoding", "columns", "on_drift"})
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


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
    raw: RawTable,
    days: set[date],
    deliveries: Sequence[Delivery],
    loads: Sequence[FileLoad],
    contents: Mapping[tuple[date, str], tuple[int, str]],
) -> None:
    """Replaces what `bronze.rejects` and `bronze.files` say about these days."""
    for book in ("rejects", "files"):
        ensure_table(con, _book(book))
        con.execute(
            f"delete from bronze.{book} where raw_table = $raw and _load_date in (select unnest($days))",
            {"raw": raw_table, "days": sorted(days)},
        )
    rejecting = [d for d in deliveries if d.rejects.count]
    if rejecting:
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
                "days": [d.file.day for d in rejecting],
                "names": [d.file.name for d in rejecting],
                "paths": [as_glob(d.rejects.path) for d in rejecting],
            },
        )
    if deliveries:
        con.execute(
            """
            insert into bronze.files by name
            select
              $raw as raw_table,
              unnest($days::date[]) as _load_date,
              unnest($names::varchar[]) as _source_file,
              unnest($sizes::bigint[]) as size_bytes,
              unnest($modified::bigint[]) as modified_ns,
              unnest($formats::varchar[]) as format,
              unnest($rows::bigint[]) as rows_loaded,
              unnest($rejected::bigint[]) as rows_rejected,
              unnest($repeated::bigint[]) as rows_repeated,
              unnest($contents::varchar[]) as content,
              unnest($problems::varchar[]) as problem,
              $read_as as read_as,
              $now::timestamp as loaded_at
            """,
            {
                "raw": raw_table,
                "days": [d.file.day for d in deliveries],
                "names": [d.file.name for d in deliveries],
                "sizes": [d.file.size for d in deliveries],
                "modified": [d.file.mtime_ns for d in deliveries],
                "formats": [load.format for load in loads],
                "rows": [load.rows for load in loads],
                "rejected": [load.rejected for load in loads],
                "repeated": [contents.get((d.file.day, d.file.name), (0, None))[0] for d in deliveries],
                "contents": [contents.get((d.file.day, d.file.name), (0, None))[1] for d in deliveries],
                "problems": [load.problem for load in loads],
                "read_as": _read_as(raw),
                "now": datetime.now(),
            },
        )


@cache
def _book(name: str) -> Contract:
    # Only these contracts are read: all of them take longer than a small load.
    return read_contract(MODELS / "bronze" / f"{name}.yml", "bronze")


def _check_unchanged(file: RawFile) -> None:
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
