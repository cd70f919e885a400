"""Looking through the landing zone for a person, and changing the files that hold records of the person.

What the warehouse has loaded is looked for there; every other file (not loaded yet, left out, replaced by a newer
delivery) is loaded into a database in memory by the same loader, so that all are read alike. `records` says
which records and values are meant, `rewrite` changes a file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.source import OnDrift, Source
from ecommerce_platform.errors import InputError, PassingError
from ecommerce_platform.forgetting.ledger import Journal, Tombstones
from ecommerce_platform.forgetting.records import RawPlan, Row, Search, Tokens, Whole, edits, plan_tables
from ecommerce_platform.forgetting.rewrite import Edits, Unparsable, rewrite, whole_lines
from ecommerce_platform.ingestion.bronze import copies, load_bronze, pending_days
from ecommerce_platform.ingestion.landing import RawFile
from ecommerce_platform.ingestion.rejects import RAW_CHARACTERS
from ecommerce_platform.ingestion.sniff import Shape, read_head, sniff
from ecommerce_platform.ingestion.swap import leads_out
from ecommerce_platform.ingestion.zone import LocalZone
from ecommerce_platform.silver.entities import raw_row
from ecommerce_platform.silver.mapping import CompiledMapping
from ecommerce_platform.warehouse.connection import macros
from ecommerce_platform.warehouse.lookup import table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.ingestion.zone import Zone

_log = logging.getLogger(__name__)

#: A file in a drop, or (with the number of its folder) one that was replaced.
Key = tuple[str, date, str]


@dataclass
class Books:
    """What the loader found in one file."""

    file: RawFile
    records: int
    unparsable: list[Unparsable] = field(default_factory=list)


@dataclass
class Found:
    """What is to be done in the landing zone.

    `work`: files that change and how. `records`: the person's records that they hold by raw table, `lines` such as
    could not be parsed. `unreadable`: files that nobody can look into.
    """

    work: list[tuple[str, Books, Edits]] = field(default_factory=list)
    records: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def values(self) -> int:
        """Values that go."""
        return sum(len(cells) for _, _, found in self.work for cells in found.cells.values())


class Landing:
    """The landing zone of a source, as a search through it needs it.

    Args:
        zone: where the drops are.
        source: the source.
        compiled: its mappings by entity.
        scratch: a folder for copies.
        config: DuckDB settings of the database in memory.
    """

    def __init__(
        self,
        zone: Zone,
        source: Source,
        compiled: Mapping[str, Sequence[CompiledMapping]],
        scratch: Path,
        config: Mapping[str, Any],
    ) -> None:
        self.zone, self.source, self.scratch, self.config = zone, source, scratch, dict(config)
        self.plans: dict[str, RawPlan] = plan_tables(source, compiled)
        self.mappings = [m for found in compiled.values() for m in found]
        self.expected = {
            raw: list(dict.fromkeys(c for m in self.mappings if m.raw_table == raw for c in m.raw_columns))
            for raw in source.file.tables
        }
        # What was agreed on about columns keeps no file from being looked into.
        tables = {
            name: raw.model_copy(update={"on_drift": OnDrift(), "columns": {}})
            for name, raw in source.file.tables.items()
        }
        self.lenient = replace(source, file=source.file.model_copy(update={"tables": tables}))

    def search(
        self, con: DuckDBPyConnection, journal: Journal, tombstones: Tombstones, key: str | None = None
    ) -> Found:
        """Looks through every file; adds to the journal what is learnt about the person.

        Args:
            con: the warehouse.
            journal: whom to look for.
            tombstones: give the stand-ins for keys that are personal.
            key: that personal data is hashed with; None while nothing is published.
        """
        found = Found()
        with ExitStack() as stack:
            places = [self._loaded(con), *(stack.enter_context(self._beside(files)) for files in self._others(con))]
            searches = [
                (Search(place, self.plans, journal, _names(books)), place, books) for place, books in places if books
            ]
            while True:  # orders lead to records, which may name more of the person's values
                before = _size(journal)
                for search, _, _ in searches:
                    search.learn(lambda orders: _others_orders(con, orders, journal))
                if _size(journal) == before:
                    break
            ambiguous = _other_names(con, journal)
            tokens: Tokens = {}
            for search, _, _ in searches:
                for raw, told in search.tokens().items():
                    tokens.setdefault(raw, set()).update(told)
            for search, place, books in searches:
                rows, lines = search.rows(), search.lines(ambiguous, tokens, self._whole(place, books))
                _note(journal, rows)
                self._refuse_workbooks(place, rows, books)
                changes = edits(rows, self.plans, journal, tombstones.pseudonym, search.around)
                if key is not None:
                    journal.rejected |= self._as_rejected(place, changes, rows, key)
                for file, numbers in lines.items():
                    changes.setdefault(file, Edits()).lines |= numbers
                for raw, day, name, number in sorted(search.broken_elements(ambiguous, tokens)):
                    if number not in changes.get((raw, day, name), Edits()).cells:
                        found.unreadable.append(f"{books[(raw, day, name)].file.where}, record {number}")
                self._add(found, place, books, changes)
                found.unreadable += _unreadable(place, books)
        return found

    def _refuse_workbooks(self, con: DuckDBPyConnection, rows: Sequence[Row], books: Mapping[Key, Books]) -> None:
        """Sees to it that no file changes where a record of the person stands in a workbook.

        Raises:
            InputError: it does.
        """
        workbooks = set(
            con.execute("select raw_table, _load_date, _source_file from bronze.files where format = 'xlsx'").fetchall()
            if table_exists(con, "bronze", "files")
            else ()
        )
        if found := sorted({key for row in rows if (key := (row.raw_table, row.day, row.file)) in workbooks}):
            raise InputError(
                "records of the person stand in a workbook, and nothing can be taken out of one without writing all of it anew",
                where=", ".join(dict.fromkeys(books[key].file.where for key in found)),
                fix="blank the person's cells there in Excel and land it again for the same day (or deliver the sheet as CSV); remove "
                "copies in raw/.replaced; then run the command again",
            )

    def _as_rejected(
        self, con: DuckDBPyConnection, changes: Mapping[Key, Edits], rows: Sequence[Row], key: str
    ) -> set[str]:
        """Hashes of what `silver.rejects` shows, or showed, of records that change, and of elements in such."""
        changed = {(*file, number) for file, found in changes.items() for number in found.cells}
        records = [
            (row.raw_table, row.day, row.file, row.number)
            for row in rows
            if (self.plans[row.raw_table].root, row.day, row.file, row.parent or row.number) in changed
        ]
        hashes: set[str] = set()
        for mapping in self.mappings:
            mine = [record[1:] for record in records if record[0] == mapping.raw_table]
            if mine:
                digests = con.execute(
                    f"select distinct sha256($key || {raw_row(con, mapping)}) from {mapping.bronze} as b "
                    "inner join (select unnest($days::date[]) as day, unnest($files::varchar[]) as file, "
                    "unnest($numbers::bigint[]) as number) as f "
                    "on b._load_date = f.day and b._source_file = f.file and b._source_row = f.number",
                    {"key": key, **{n: [r[i] for r in mine] for i, n in enumerate(("days", "files", "numbers"))}},
                ).fetchall()
                hashes |= {digest for (digest,) in digests}
        return hashes

    def _add(
        self, found: Found, con: DuckDBPyConnection, books: Mapping[Key, Books], changes: Mapping[Key, Edits]
    ) -> None:
        for key, change in sorted(changes.items()):
            raw = key[0]
            book = replace(books[key], unparsable=_unparsable(con, key))
            if change.lines:  # those that hold something still
                texts = {u.line: u.text for u in book.unparsable}
                change.lines = {
                    n
                    for n in change.lines
                    if len(texts.get(n, "")) >= RAW_CHARACTERS
                    or any(c.isalnum() and c != "x" for c in texts.get(n, ""))
                }
            if not change:
                continue
            found.work.append((raw, book, change))
            found.records[raw] = found.records.get(raw, 0) + len(change.cells)
            found.lines += len(change.lines)

    def _whole(self, con: DuckDBPyConnection, books: Mapping[Key, Books]) -> Whole:
        def lines(key: Key, wanted: Collection[int]) -> dict[int, str]:
            file, shape, data = self._read(key[0], books[key].file)
            return whole_lines(data, shape, _unparsable(con, key), wanted, file.where)

        return lines

    def _read(self, raw: str, file: RawFile) -> tuple[RawFile, Shape, bytes]:
        """A delivered file, its shape and its content."""
        with self.zone.fetched([file], self.scratch) as here:
            (found,) = here
            shape = sniff(read_head(found.path), self.lenient.file.tables[raw], self.expected[raw])
            data = found.path.read_bytes()
        if not isinstance(shape, Shape):
            raise InputError(f"cannot be read any more: {shape.text}", where=found.where, fix="try again")
        return found, shape, data

    def outside(self, found: Found) -> list[str]:
        """Files that change and are links out of the folder of drops: where what they lead to stands, and stays."""
        if not isinstance(self.zone, LocalZone):
            return []
        places = {leads_out(book.file.path, self.zone.raw_dir) for _, book, _ in found.work}
        return sorted(str(place) for place in places if place)

    # -- where files are looked into -------------------------------------------------------------------------

    def _loaded(self, con: DuckDBPyConnection) -> tuple[DuckDBPyConnection, dict[Key, Books]]:
        """The files of drops that the warehouse holds as they are."""
        books: dict[Key, Books] = {}
        for raw, files in self._drops().items():
            late = self._not_loaded(con, raw, files)
            counts = _counts(con, raw)
            for file in files:
                if file not in late:
                    books[(raw, file.day, file.name)] = Books(file, counts.get((file.day, file.name), 0))
        return con, books

    def _others(self, con: DuckDBPyConnection) -> list[dict[str, list[RawFile]]]:
        """All other files, in groups of which no two have the same day and name."""
        groups = [
            {raw: [f for f in files if f in late] for raw, files in self._drops().items()
             if (late := self._not_loaded(con, raw, files))}
        ]  # fmt: skip
        groups += [
            {raw: files for raw, files in aside.items() if not self.source.file.tables[raw].explode}
            for aside in self.zone.aside(self.source)
        ]
        return [group for group in groups if any(group.values())]

    def _drops(self) -> dict[str, list[RawFile]]:
        tables = self.zone.drops(self.source).tables
        return {raw: files for raw, files in tables.items() if not self.source.file.tables[raw].explode}

    def _not_loaded(self, con: DuckDBPyConnection, raw: str, files: Sequence[RawFile]) -> set[RawFile]:
        late = pending_days(con, self.source, raw, files)
        left_out: set[tuple[date, str]] = set()
        if table_exists(con, "bronze", "rejects"):
            left_out = copies(con, raw) | {
                (day, name)
                for day, name in con.execute(
                    "select _load_date, _source_file from bronze.rejects where raw_table = ? and reason_code = 'schema_drift'",
                    [raw],
                ).fetchall()
            }
        return {file for file in files if file.day in late or (file.day, file.name) in left_out}

    @contextmanager
    def _beside(self, files: Mapping[str, Sequence[RawFile]]) -> Iterator[tuple[DuckDBPyConnection, dict[Key, Books]]]:
        """Files in a database of their own for as long as the block lasts."""
        import duckdb

        self.scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="forget-", dir=self.scratch) as folder, ExitStack() as stack:
            con = duckdb.connect(":memory:", config={**self.config, "temp_directory": f"{folder}/spill"})
            stack.callback(con.close)
            con.execute("create schema bronze; create schema silver")
            con.execute(macros())
            books: dict[Key, Books] = {}
            for raw, listed in files.items():
                with self.zone.fetched(list(listed), self.scratch) as here:
                    load_bronze(
                        con, self.lenient, raw, here, {f.day for f in here},
                        expected=self.expected[raw], required={}, scratch=Path(folder), once=False,
                    )  # fmt: skip
                counts = _counts(con, raw)
                for file in listed:
                    books[(raw, file.day, file.name)] = Books(file, counts.get((file.day, file.name), 0))
            self._explode(con, files, Path(folder))
            yield con, books

    def _explode(self, con: DuckDBPyConnection, files: Mapping[str, Sequence[RawFile]], scratch: Path) -> None:
        """Makes the tables of elements of what was loaded."""
        for plan in sorted(self.plans.values(), key=lambda plan: plan.depth):
            if plan.depth and files.get(plan.root):
                load_bronze(
                    con, self.lenient, plan.raw_table, [], {f.day for f in files[plan.root]},
                    expected=self.expected[plan.raw_table], required={}, scratch=scratch,
                )  # fmt: skip

    # -- changing files --------------------------------------------------------------------------------------

    def apply(self, found: Found, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Changes the files; a kill leaves each as it was or as it is to be.

        Of files that are one by links, the first is changed; whoever looks again finds what is left to do in the others.

        Raises:
            PassingError: a file was delivered anew meanwhile.
            InputError: a file's records are not where they were found; it cannot be read or written.
        """
        done: set[str] = set()
        for number, (raw, book, change) in enumerate(found.work, start=1):
            real = book.file.url or str(book.file.path.resolve())
            if real in done:
                continue
            done.add(real)
            if progress:
                progress(f"{book.file.day}/{book.file.name}", number, len(found.work))
            file, shape, data = self._read(raw, book.file)
            content = rewrite(data, shape, change, book.unparsable, book.records, file.where, self.scratch)
            if not self.zone.exchange(book.file, content):
                raise PassingError(
                    "the file was delivered anew at this moment", where=file.where, fix="run the command again"
                )


def _names(books: Mapping[Key, Books]) -> dict[str, set[tuple[date, str]]]:
    found: dict[str, set[tuple[date, str]]] = {}
    for raw, day, name in books:
        found.setdefault(raw, set()).add((day, name))
    return found


def _size(journal: Journal) -> int:
    return len(journal.order_ids) + sum(map(len, journal.values.values()))


def _note(journal: Journal, rows: Sequence[Row]) -> None:
    journal.records |= {(row.raw_table, row.day.isoformat(), row.file, row.number) for row in rows}


def _counts(con: DuckDBPyConnection, raw: str) -> dict[tuple[date, str], int]:
    if not table_exists(con, "bronze", "files"):
        return {}
    rows = con.execute("select _load_date, _source_file, rows_loaded from bronze.files where raw_table = ?", [raw])
    return {(day, name): count for day, name, count in rows.fetchall()}


def _unparsable(con: DuckDBPyConnection, key: Key) -> list[Unparsable]:
    rows = con.execute(
        "select line, reason_code, coalesce(raw_text, '') from bronze.rejects "
        "where raw_table = ? and _load_date = ? and _source_file = ? and line is not null order by reject_number",
        list(key),
    ).fetchall()
    # A record of several lines is rejected as one for its encoding alone.
    return [Unparsable(n, 1 + text.count("\n") if code == "bad_encoding" else 1, text) for n, code, text in rows]


def _unreadable(con: DuckDBPyConnection, books: Mapping[Key, Books]) -> list[str]:
    rows = con.execute(
        "select raw_table, _load_date, _source_file from bronze.rejects where reason_code = 'unreadable_file'"
    ).fetchall()
    return sorted({books[key].file.where for key in rows if key in books})


def _others_orders(con: DuckDBPyConnection, orders: set[str], journal: Journal) -> set[str]:
    """Those of some orders that are another customer's by now."""
    if not orders or not table_exists(con, "silver", "orders"):
        return set()
    rows = con.execute(
        "select order_id from silver.orders where order_id in (select unnest($orders)) "
        "and customer_id not in (select unnest($mine))",
        {"orders": sorted(orders), "mine": sorted(journal.customer_ids)},
    ).fetchall()
    return {order for (order,) in rows}


def _other_names(con: DuckDBPyConnection, journal: Journal) -> set[str]:
    """Names of the person that other people have, too."""
    names = journal.values.get("full_name", set())
    if not names or not table_exists(con, "silver", "customers"):
        return set()
    rows = con.execute(
        "select distinct name from (select customer_id, lower(trim(coalesce(full_name, concat_ws(' ', given_name, "
        "family_name)))) as name from silver.customers) as named where name in (select unnest($n)) "
        "and customer_id not in (select unnest($mine))",
        {"n": sorted(names), "mine": sorted(journal.customer_ids)},
    ).fetchall()
    return {name for (name,) in rows}
