"""Loading delivered files into `bronze`: all of one raw table's chosen days in one transaction.

Afterwards `bronze.<source>__<raw table>`, `bronze.rejects` and `bronze.files` hold for these days exactly what
the files deliver; every line of a file is a row or a reject. Where files come from is `landing`'s business, how
they are read the readers'; what their values mean begins in silver.

How a file's rows get their number: DuckDB's CSV reader knows none, and `row_number()` makes a scan run in one
thread. But rows appended in one statement keep the order of the files, and their row ids follow it. So rows are
written with their file's id, negated, in place of the number, and one update afterwards makes numbers of row ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql, quote
from ecommerce_platform.contracts.source import RawTable, Source
from ecommerce_platform.errors import InputError
from ecommerce_platform.ingestion import readers
from ecommerce_platform.ingestion.landing import RawFile
from ecommerce_platform.ingestion.plain import Plain, make_plain
from ecommerce_platform.ingestion.readers import Scan, as_glob
from ecommerce_platform.ingestion.rejects import Reject, RejectFile
from ecommerce_platform.ingestion.salvage import Salvaged, explain_csv, salvage_csv
from ecommerce_platform.ingestion.salvage_json import salvage_json
from ecommerce_platform.ingestion.sniff import Shape, Unusable, read_head, sniff, unique_names
from ecommerce_platform.warehouse.transaction import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Provenance of every bronze row, in front, so that columns that come later stay together with the others.
PROVENANCE = {
    "_load_date": "DATE",
    "_source_file": "VARCHAR",
    "_source_row": "BIGINT",
    "_row_hash": "UBIGINT",
}

#: Files read by one statement, and how many bytes of them may have to be written out plain at the same time.
_BATCH_FILES = 1_000
_BATCH_BYTES = 512 << 20
#: More different keys than this are data, not columns.
_MAX_KEYS = 2_000


@dataclass(frozen=True)
class FileLoad:
    """What became of one file.

    `problem` says what makes the file as a whole suspect; with `note` set it is worth knowing, but no fault (a
    header without records, say).
    """

    day: date
    name: str
    format: str | None
    rows: int
    rejected: int
    problem: str | None
    note: bool = False


@dataclass(frozen=True)
class BronzeLoad:
    """What a load did: rows written and removed in the bronze table, columns it did not have before, files."""

    table: str
    rows_inserted: int
    rows_deleted: int
    columns_added: tuple[str, ...]
    files: tuple[FileLoad, ...]

    @property
    def rows_rejected(self) -> int:
        """Rejects of all files."""
        return sum(file.rejected for file in self.files)

    @property
    def rows_per_day(self) -> dict[date, tuple[int, int]]:
        """Rows loaded and rejected by day, for days that have files."""
        days: dict[date, tuple[int, int]] = {}
        for file in self.files:
            loaded, rejected = days.get(file.day, (0, 0))
            days[file.day] = (loaded + file.rows, rejected + file.rejected)
        return days

    @property
    def problems(self) -> list[tuple[str, str]]:
        """File (as `<day>/<name>`) and problem, without mere notes."""
        return [(f"{f.day}/{f.name}", f.problem) for f in self.files if f.problem and not f.note]

    @property
    def notes(self) -> list[tuple[str, str]]:
        """File (as `<day>/<name>`) and what is worth knowing about it."""
        return [(f"{f.day}/{f.name}", f.problem) for f in self.files if f.problem and f.note]


def pending_days(con: DuckDBPyConnection, source: Source, raw_table: str, files: Sequence[RawFile]) -> set[date]:
    """Days whose files are not those that were loaded: new, changed or removed.

    Args:
        con: the warehouse; its tables may be missing.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table.
        files: all its files in all drops.
    """
    there: dict[date, set[tuple[str, int, int]]] = {}
    for file in files:
        there.setdefault(file.day, set()).add((file.name, file.size, file.mtime_ns))
    loaded: dict[date, set[tuple[str, int, int]]] = {}
    if _exists(con, "files") and _exists(con, source.bronze_table(raw_table)):
        rows = con.execute(
            "select _load_date, _source_file, size_bytes, modified_ns from bronze.files where raw_table = $raw",
            {"raw": raw_table},
        ).fetchall()
        for day, name, size, modified in rows:
            loaded.setdefault(day, set()).add((name, size, modified))
    return {day for day in there.keys() | loaded.keys() if there.get(day) != loaded.get(day)}


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
    `bronze.files.loaded_at`, and for how a column is spelled that deliveries write in different case). A failure
    leaves everything as it was.

    Args:
        con: the warehouse, outside a transaction.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table to load.
        files: its files; those of other days are ignored. A day without files ends up empty.
        days: the days to load.
        expected: columns that exist in any case, null where a delivery lacks them.
        required: columns without which a file counts as faulty (its rows are loaded all the same), and the
            canonical column that each is needed for.
        scratch: a folder for temporary files; left as it was.

    Raises:
        InputError: a file is gone, cannot be read or changes while it is loaded; the disk is full.
    """
    chosen = sorted(file for file in files if file.day in set(days))
    scratch.mkdir(parents=True, exist_ok=True)
    with _explained(scratch), TemporaryDirectory(prefix="bronze-", dir=scratch) as folder:
        load = _Load(con, source, raw_table, set(days), expected, required, Path(folder))
        load.deliveries = [load.examine(number, file) for number, file in enumerate(chosen, start=1)]
        while True:
            try:
                with transaction(con):
                    return load.run()
            except _ScanFailed as failed:
                # The error has ended the transaction. Find whose it is, and begin again.
                load.find_culprits(failed)


@dataclass
class _Delivery:
    """One file on its way into bronze."""

    id: int
    file: RawFile
    shape: Shape | None
    rejects: RejectFile
    #: Not to be read by DuckDB as it is: some earlier attempt failed on it.
    suspect: bool = False
    #: Cannot be read at all.
    unusable: Unusable | None = None
    plain: Plain | None = None
    rows: int = 0
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> Plain:
        """The file as plain text; only while its batch is at work."""
        assert self.plain is not None
        return self.plain

    @property
    def csv_lines(self) -> int:
        """Lines of a CSV file that have to be rows, parts of rows, or rejects."""
        assert self.shape is not None
        plain = self.text
        trailing = plain.trailing_blanks if len(self.shape.columns) > 1 else 0
        return max(0, plain.lines - self.shape.skip - self.shape.header_lines - trailing)


class _ScanFailed(Exception):
    """DuckDB gave up on a scan; the transaction is lost."""

    def __init__(self, error: Exception, scan: Scan, deliveries: Sequence[_Delivery], salvaged: bool) -> None:
        super().__init__(str(error))
        self.error, self.scan, self.deliveries, self.salvaged = error, scan, deliveries, salvaged


class _Load:
    """One call of `load_bronze`. `run` may be tried again; what `examine` found and who is suspect stays."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        source: Source,
        raw_table: str,
        days: set[date],
        expected: Sequence[str],
        required: Mapping[str, str],
        scratch: Path,
    ) -> None:
        self.con, self.source, self.raw_table, self.days = con, source, raw_table, days
        self.expected, self.required, self.scratch = expected, required, scratch
        self.raw: RawTable = source.file.tables[raw_table]
        self.name = source.bronze_table(raw_table)
        self.table = f"bronze.{quote(self.name)}"
        self.deliveries: list[_Delivery] = []
        self.spelling: dict[str, str] = {}
        self.added: list[str] = []
        self.starts: dict[int, int] = {}

    @cached_property
    def side(self) -> DuckDBPyConnection:
        """A second connection to the same database: looking at a damaged file there costs no transaction."""
        return self.con.cursor()

    # --- before the transaction

    def examine(self, number: int, file: RawFile) -> _Delivery:
        """Finds out what a file is."""
        _unchanged(file)
        found = sniff(read_head(file.path), self.raw, self.expected)
        delivery = _Delivery(number, file, None, RejectFile(self.scratch / f"{number}.rejects"))
        if isinstance(found, Unusable):
            delivery.unusable = found
        else:
            delivery.shape = found
        return delivery

    def find_culprits(self, failed: _ScanFailed) -> None:
        """Marks the files that DuckDB cannot read, by reading each of them alone.

        Raises:
            Exception: DuckDB's own, when no file is to blame.
        """
        if failed.salvaged:
            raise failed.error
        culprits = []
        for delivery in failed.deliveries:
            with self._plain([delivery]):
                error = self._trial(failed.scan, delivery)
            if error:
                culprits.append((delivery, error))
        if not culprits:
            # Only together do they fail; each on its own, line by line, they will not.
            if failed.deliveries[0].suspect or failed.deliveries[0].shape is None:
                raise failed.error
            culprits = [(delivery, str(failed.error)) for delivery in failed.deliveries]
        for delivery, error in culprits:
            if delivery.suspect:
                raise failed.error
            delivery.suspect = True
            if delivery.shape and delivery.shape.format == "parquet":
                delivery.unusable = _damaged_parquet(error)

    def _trial(self, scan: Scan, delivery: _Delivery) -> str | None:
        """What DuckDB says against reading a file, if anything."""
        values = ", ".join(scan.values) or "1"
        try:
            self.side.execute(
                f"select bit_xor(hash({values})) from {scan.relation}", {"paths": [as_glob(delivery.text.path)]}
            ).fetchall()
        except _file_errors() as error:
            return str(error).replace(str(delivery.text.path), delivery.file.name)
        finally:
            self._forget_rejected(self.side)
        return None

    # --- within the transaction

    def run(self) -> BronzeLoad:
        """Writes everything; the caller commits."""
        deleted = self._clear()
        self.starts, self.added_now = {}, 0
        for delivery in self.deliveries:
            delivery.rows, delivery.columns = 0, ()
            delivery.rejects.clear()
            if delivery.unusable:
                self._refuse(delivery, delivery.unusable)
        usable = [d for d in self.deliveries if d.shape and not d.unusable]
        for shape, group in _grouped(usable, lambda d: _reading(d.shape)):
            for batch in _batches(group):
                with self._plain(batch):
                    if shape.format == "csv":
                        self._load_csv(batch)
                    elif shape.format == "parquet":
                        self._load_parquet(batch)
                    else:
                        self._load_json(batch)
        self._number_rows()
        for delivery in self.deliveries:
            _unchanged(delivery.file)
        loads = [self._file_load(d) for d in self.deliveries]
        self._write_rejects()
        self._write_files(loads)
        inserted = sum(load.rows for load in loads)
        return BronzeLoad(f"bronze.{self.name}", inserted, deleted, tuple(self.added), tuple(loads))
