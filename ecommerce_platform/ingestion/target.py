"""The bronze table while rows are being written to it: columns, arriving rows, counting, numbering.

Knows SQL and row ids, but no files and no formats. Everything here happens within the caller's transaction.

How a row gets its number within its file: DuckDB's CSV reader knows none, and `row_number()` makes a scan run in
a single thread. But rows appended in one statement keep the order of the files, and their row ids follow it. So
rows first arrive in a temporary table, with their file's id, negated, in place of the number; on the way into
bronze row ids become numbers. That second copy costs no more than an update, and what turns out not to add up
never gets into bronze. (Rewriting the column in place with ALTER … USING and a sequence was faster, but stands in
DuckDB's log as that statement: after a kill the log could not be replayed, and the warehouse no longer opened.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.ingestion.delivery import Delivery
from ecommerce_platform.ingestion.readers import Scan, text
from ecommerce_platform.warehouse.lookup import column_types, table_exists

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: In front, so that columns that come later stay together with the others.
PROVENANCE = {
    "_load_date": "DATE",
    "_source_file": "VARCHAR",
    "_source_row": "BIGINT",
    "_row_hash": "UBIGINT",
}
#: Where rows wait for their numbers.
_STAGE = "temp._arriving"


#: So many lines like records within one value, and not fewer than other lines, are records that a stray quote
#: ran over. A text can hold one or two by chance.
_SWALLOWED = 3


@dataclass(frozen=True)
class Breaks:
    """Line feeds and carriage returns within a file's values; whether one seems to have swallowed records."""

    feeds: int = 0
    returns: int = 0
    swallowed: bool = False


class Target:
    """`bronze.<name>` during one load.

    Attributes:
        deleted: rows removed by `clear`.
        added: columns that the table did not have before.
    """

    def __init__(
        self,
        con: DuckDBPyConnection,
        name: str,
        expected: Sequence[str],
        place: Mapping[str, str] | None = None,
        arrays: Collection[str] = (),
    ) -> None:
        self.con, self.name, self.expected = con, name, tuple(expected)
        #: Columns of which other tables are made: long texts that are read as a whole, once.
        self.arrays = {name.lower() for name in arrays}
        #: Columns in front that are no text: provenance, and of exploded tables where an element stands.
        self.types = {**PROVENANCE, **(place or {})}
        self.table = f"bronze.{quote(name)}"
        self.deleted = 0
        self.added: list[str] = []
        #: How the table writes a column, by the lower case of its name.
        self.spelling: dict[str, str] = {}
        self._preferred = {column.lower(): column for column in reversed(expected)}
        self._before: set[str] = set()
        self._starts: dict[int, int] = {}
        #: Columns of rows that have arrived that the table has not.
        self._noted: list[str] = []

    def clear(self, days: Collection[date], columns: Iterable[str]) -> None:
        """Removes the rows of `days` and sees to it that the table exists with at least `columns`.

        When no other day has rows, the table is made anew: that is faster, and forgets columns of deliveries
        that are gone.
        """
        chosen = sorted(days)
        self.con.execute("create schema if not exists bronze")
        exists = table_exists(self.con, "bronze", self.name)
        if exists:
            self._before = {name.lower() for name in self._columns()}
        others = exists and self._one(
            f"select exists (from {self.table} where _load_date not in (select unnest($days)))", {"days": chosen}
        )
        if others:
            self.spelling = {name.lower(): name for name in self._columns()}
            self.deleted = self._one(
                f"delete from {self.table} where _load_date in (select unnest($days))", {"days": chosen}
            )
        else:
            self.deleted = self._one(f"select count(*) from {self.table}") if exists else 0
            self.spelling = {name: name for name in self.types}
            new = self._new(columns)
            stored = "".join(f", {quote(name)} {self._stored(name)}" for name in new)
            self.con.execute(f"create or replace table {self.table} ({self._columns_sql(())}{stored})")
        self.ensure(columns)

    def ensure(self, columns: Iterable[str]) -> None:
        """Adds those of `columns` that the table lacks."""
        for column in self._new(columns):
            self.con.execute(f"alter table {self.table} add column {quote(column)} {self._stored(column)}")

    def _new(self, columns: Iterable[str]) -> list[str]:
        """Notes columns that the table will have; returns those it did not, as it is to spell them."""
        new = []
        for column in columns:
            lower = column.lower()
            if lower not in self.spelling:
                self.spelling[lower] = self._preferred.get(lower, column)
                new.append(self.spelling[lower])
        self.added += [column for column in new if column.lower() not in self._before]
        return new

    def arrive(self, scan: Scan, paths: Sequence[str], deliveries: Sequence[Delivery]) -> dict[int, int]:
        """Reads all rows of a scan; they are not in the table until `settle`.

        Args:
            scan: what to read.
            paths: the files, as DuckDB is given them.
            deliveries: what the files are deliveries of.

        Returns:
            Rows per delivery, by its id; without those that have none.
        """
        self.ensure(scan.columns)
        # New each time: once nothing has been inserted into a table, DuckDB 2.0 finds no rows by their row id in
        # it for the rest of the transaction.
        names = [self.spelling[column.lower()] for column in scan.columns]
        noted = "".join(f", {name} {type}" for name, type in scan.noted)
        self.con.execute(f"create or replace temp table _arriving ({self._columns_sql(names)}{noted})")
        self._noted = [name for name, _ in scan.noted]
        self.con.execute(
            f"""
            insert into {_STAGE} by name
            select
              $days[file_index::bigint + 1] as _load_date,
              $names[file_index::bigint + 1] as _source_file,
              -($ids[file_index::bigint + 1]) as _source_row,
              {scan.row_hash} as _row_hash
              {"".join(f", {name}" for name in self._noted)}
              {scan.select(self.spelling)}
            from {scan.relation}
            """,
            {
                "paths": list(paths),
                "days": [d.file.day for d in deliveries],
                "names": [d.file.name for d in deliveries],
                "ids": [d.id for d in deliveries],
            },
        )
        rows = self.con.execute(
            f"select -_source_row, count(*), min(rowid), max(rowid) from {_STAGE} group by all"
        ).fetchall()
        for _, count, first, last in rows:
            if last - first + 1 != count:
                raise RuntimeError(f"{self.table}: rows of a file do not stand together; their order is unknown")
        self._starts = {id: first for id, _, first, _ in rows}
        return {id: count for id, count, _, _ in rows}

    def settle(self, without: Collection[Delivery] = ()) -> None:
        """Moves the rows that have arrived into the table, each with its number within its file, from 1.

        Args:
            without: files whose rows are dropped instead.
        """
        for delivery in without:
            self._starts.pop(delivery.id, None)
        if self._starts:
            low, high = min(self._starts), max(self._starts)
            condition = f" where not {_from(without)}" if without else ""
            exclude = f"exclude ({', '.join(self._noted)}) " if self._noted else ""
            self.con.execute(
                f"insert into {self.table} by name "
                f"select * {exclude}replace (rowid - $starts[-_source_row - {low - 1}] + 1 as _source_row) "
                f"from {_STAGE}{condition}",
                {"starts": [self._starts.get(id, 0) for id in range(low, high + 1)]},
            )
        self._starts = {}
        self.con.execute(f"drop table {_STAGE}")

    def other_keys(self) -> tuple[bool, list[list[str]]]:
        """Of rows that a scan with `_known` and `_keys` brought: whether all can be read, and key lists of those not known."""
        rows = self.con.execute(
            f"select _known is null as unread, _keys from {_STAGE} where _known is distinct from true group by all"
        ).fetchall()
        return not any(unread for unread, _ in rows), [keys for _, keys in rows]

    def remove(self, delivery: Delivery) -> None:
        """Takes the rows of one file out again."""
        self.con.execute(
            f"delete from {self.table} where _load_date = ? and _source_file = ?",
            [delivery.file.day, delivery.file.name],
        )
        delivery.rows = 0

    def line_breaks(
        self, deliveries: Sequence[Delivery], columns: Sequence[str], delimiter: str, newline: str
    ) -> dict[int, Breaks]:
        """What line breaks there are within the values of files that have arrived, by delivery.

        Args:
            deliveries: the files.
            columns: their columns.
            delimiter: what separates values in them.
            newline: the character that ends their lines.
        """
        names = [quote(self.spelling[column.lower()]) for column in columns]
        end, separator = text(newline), text(delimiter)

        def count(name: str, part: str) -> str:
            return f"(strlen({name}) - strlen(replace({name}, {part}, ''))) // strlen({part})"

        def total(part: str) -> str:
            return " + ".join(f"case when contains({n}, {part}) then {count(n, part)} else 0 end" for n in names)

        def swallows(name: str) -> str:
            inner = f"string_split({name}, {end})[2:-2]"
            record = f"not contains(l, '\"') and {count('l', separator)} = {len(columns) - 1}"
            found = f"len(list_filter({inner}, lambda l: {record}))"
            return (
                f"case when contains({name}, {end}) then "
                f"{found} >= {_SWALLOWED} and 2 * {found} >= {count(name, end)} - 1 else false end"
            )

        suspicious = " or ".join(swallows(n) for n in names) if len(columns) > 1 else "false"
        rows = self.con.execute(
            f"select -_source_row, sum({total('chr(10)')}), sum({total('chr(13)')}), bool_or({suspicious}) "
            f"from {_STAGE} where {_from(deliveries)} group by all"
        ).fetchall()
        return {id: Breaks(int(feeds), int(returns), swallowed) for id, feeds, returns, swallowed in rows}

    def _columns(self) -> list[str]:
        return list(column_types(self.con, self.table))

    def _stored(self, column: str) -> str:
        """Type and compression: what DuckDB chooses for long texts takes three times as long, and twice the space."""
        return "varchar using compression zstd" if column.lower() in self.arrays else "varchar"

    def _columns_sql(self, names: Iterable[str]) -> str:
        types = {**self.types, **dict.fromkeys(names, "VARCHAR")}
        return ", ".join(f"{quote(name)} {type}" for name, type in types.items())

    def _one(self, sql: str, parameters: dict[str, object] | None = None) -> int:
        row = self.con.execute(sql, parameters).fetchone()
        assert row is not None
        return int(row[0])


def _from(deliveries: Collection[Delivery]) -> str:
    """The condition that picks rows of some files, as long as they have no number."""
    return f"_source_row in ({', '.join(str(-d.id) for d in deliveries)})"
