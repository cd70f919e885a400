"""SQLite, through Python's own driver. A column holds whatever was put there, so every value is turned into text on its own.

Numbers with a fraction are written so that they can be read back exactly, binary values as hexadecimal digits behind `0x`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.ingestion.extraction.database import Column, Database, Table, lost, midnight, no_table, refused
from ecommerce_platform.ingestion.extraction.staging import text_batches

if TYPE_CHECKING:
    from pyarrow import RecordBatch

#: What a time looks like that compares as text.
_ISO = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"


class SQLite(Database):
    """An SQLite file, opened for reading only.

    Times there are text in whatever form somebody chose. As long as they begin with the day (2024-05-01), whole days
    compare; so that is how exactly a watermark is looked at here.
    """

    connection: sqlite3.Connection | None = None
    strict = False  # any column holds anything

    def open(self) -> None:
        """Opens the file and begins the transaction."""
        path = Path(self.address.url)
        if not path.is_file():
            raise refused("there is no such file", self.address, "correct the path of the database")
        with _explained(self):
            self.connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                timeout=30,
                check_same_thread=False,
            )
            self.connection.execute("begin")
            self.connection.execute("select count(*) from sqlite_master").fetchone()  # now the view is fixed

    def close(self) -> None:
        """Closes the file."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def utc_now(self) -> datetime:
        """This machine's clock."""
        return datetime.now(UTC).replace(tzinfo=None)

    def table(self, name: str) -> Table:
        """Columns, and the primary key or the row id."""
        columns = self._ask(
            'select name, type, "notnull", pk from pragma_table_xinfo(?) where hidden <> 1 order by cid', name
        )
        if not columns:
            others = self._ask(
                "select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite_%'"
            )
            raise no_table(name, self.address, [other for (other,) in others])
        key = tuple(column for column, _, _, place in sorted(columns, key=lambda c: c[3]) if place)
        if not key and self._has_rowid(name):
            key = ("rowid",)
        return Table(
            self.quote(name),
            tuple(
                Column(column, said or "any", f"t.{self.quote(column)}", not filled, "date")
                for column, said, filled, _ in columns
            ),
            key,
        )

    def quote(self, name: str) -> str:
        """A name in double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def moment(self, column: Column, at: datetime) -> str:
        """The day, as text."""
        return f"'{at:%Y-%m-%d}'"

    def unset(self, column: Column) -> str:
        """Null, or nothing that begins with a day."""
        name = f"t.{self.quote(column.name)}"
        return f"({name} is null or typeof({name}) <> 'text' or {name} not glob '{_ISO}')"

    def newest(self, table: Table, column: Column, since: datetime | None, until: datetime) -> datetime | None:
        """The latest day."""
        name = f"t.{self.quote(column.name)}"
        # The shop's day, or that of UTC, in which SQLite's own functions write: whichever is earlier.
        last = min(until, datetime.now(UTC).replace(tzinfo=None))
        conditions = [f"not ({self.unset(column)})", f"substr({name}, 1, 10) <= '{last:%Y-%m-%d}'"]
        if since is not None:
            conditions.append(f"{name} >= {self.moment(column, since)}")
        rows = self._ask(f"select max(substr({name}, 1, 10)) from {table.name} as t where {' and '.join(conditions)}")
        try:
            return midnight(datetime.fromisoformat(rows[0][0]).date()) if rows[0][0] else None
        except ValueError:
            raise refused(
                f"{column.name} of {table.name} holds {rows[0][0]!r}, which is no date",
                self.address,
                "correct the value, or leave out the watermark and say `delivery: full`",
            ) from None

    def batches(self, sql: str, table: Table) -> Generator[RecordBatch]:
        """Batches of so many rows."""
        assert self.connection
        with _explained(self):
            cursor = self.connection.execute(sql)
            yield from text_batches([c.name for c in table.columns], cursor.fetchmany, _text)

    def _has_rowid(self, name: str) -> bool:
        assert self.connection
        try:
            self.connection.execute(f"select rowid from {self.quote(name)} limit 0")
        except sqlite3.Error:
            return False  # a view, or a table made WITHOUT ROWID
        ((kind,),) = self._ask("select type from sqlite_master where name = ? collate nocase", name)
        return bool(kind == "table")

    def _ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self.connection
        with _explained(self):
            return self.connection.execute(sql, values).fetchall()


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "0x" + value.hex().upper() if isinstance(value, bytes) else repr(value)


@contextmanager
def _explained(database: SQLite) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise lost(str(error), database.address) from None
        said = "Could not decode" in str(error)
        fix = "correct the value: text in SQLite is UTF-8" if said else "correct the file, or `extract` in source.yml"
        raise refused(str(error), database.address, fix) from None
    except sqlite3.DatabaseError as error:
        raise refused(str(error), database.address, "give the path of an SQLite database that is whole") from None
