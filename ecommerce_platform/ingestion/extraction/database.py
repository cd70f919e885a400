"""What extraction asks of any database: what a table looks like, and its rows as text, in one unchanging view.

Here are the questions and what all answers have in common; each database's own way is in a module of its own. Every
value comes as the text that the database's own export would write: bronze holds text, and no type in between (a double,
a date that starts in 1970) may change a value. Whether rows are new is in `ledger`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from ecommerce_platform.errors import InputError, PassingError, SettingsError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

#: About how many bytes of text a batch holds; a row group of the file is one batch.
BATCH_BYTES = 16 << 20

#: Which clock a column's times are of: an instant whatever the zone, the shop's clock, or only its calendar.
Clock = Literal["instant", "local", "date"]


class ConnectionLost(PassingError):
    """The database cannot be reached, or stopped answering; the same extract may succeed at the next try."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, its type in the database's words, and the SQL that gives its value as text.

    `clock` is None for a type that holds no dates.
    """

    name: str
    type: str
    sql: str
    nullable: bool = True
    clock: Clock | None = None


@dataclass(frozen=True)
class Table:
    """A table or view as it is now: `name` as SQL, its columns in order, its primary key, about how many rows."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rows: int | None = None
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True)
class Selection:
    """Which rows of a table are read, and in which order.

    Without a watermark all. With one, those whose watermark is at least `since` (any, when None), or, `unset`, those that
    have none.
    """

    order: tuple[str, ...] = ()
    watermark: Column | None = None
    since: datetime | None = None
    unset: bool = False


class Database(ABC):
    """A connection with one read-only transaction, for as long as the `with` block lasts.

    Everything that is read in the block is from one moment, as far as the database can do that. `zoned` says that the text
    of an instant has an offset, `strict` that a column which says so holds no nulls and dates are dates.
    """

    zoned = False
    strict = True

    def __init__(self, address: Address, zone: ZoneInfo) -> None:
        self.address, self.zone = address, zone

    @abstractmethod
    def open(self) -> None:
        """Connects and begins the transaction."""

    @abstractmethod
    def close(self) -> None:
        """Ends both; never fails."""

    @abstractmethod
    def utc_now(self) -> datetime:
        """The time of the database's clock in UTC, without zone; not later than the moment that is read."""

    @abstractmethod
    def table(self, name: str) -> Table:
        """What a table looks like.

        Raises:
            InputError: there is no such table, or it may not be read.
        """

    @abstractmethod
    def quote(self, name: str) -> str:
        """A name as SQL."""

    @abstractmethod
    def moment(self, column: Column, at: datetime) -> str:
        """A time as SQL to be compared with a column."""

    @abstractmethod
    def unset(self, column: Column) -> str:
        """Condition: the column has no time that could be compared."""

    @abstractmethod
    def newest(self, table: Table, column: Column, since: datetime | None, until: datetime) -> datetime | None:
        """The latest time in a column from `since` to `until`, on the column's clock."""

    @abstractmethod
    def batches(self, sql: str, table: Table) -> Generator[RecordBatch]:
        """The rows of a SELECT over the table's columns, all as text, in batches of bounded size.

        Raises:
            ConnectionLost: it broke off.
        """

    def read(self, table: Table, selection: Selection) -> Generator[RecordBatch]:
        """The chosen rows of a table with all its columns."""
        columns = ", ".join(f"{c.sql} as {self.quote(c.name)}" for c in table.columns)
        sql = f"select {columns} from {table.name} as t"
        if mark := selection.watermark:
            unset = self.unset(mark)
            conditions = [unset if selection.unset else f"not ({unset})"]
            if selection.since is not None and not selection.unset:
                conditions = [f"t.{self.quote(mark.name)} >= {self.moment(mark, selection.since)}"]
            sql += f" where {' and '.join(conditions)}"
        if selection.order:
            sql += " order by " + ", ".join(f"t.{self.quote(name)}" for name in selection.order)
        return self.batches(sql, table)

    def local(self, at: datetime) -> datetime:
        """A time in UTC on the shop's clock."""
        return at.replace(tzinfo=UTC).astimezone(self.zone).replace(tzinfo=None)

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Address:
    """Where a database is: the connection URL, and the environment variable it came from. Never printed."""

    variable: str
    url: str

    def __repr__(self) -> str:
        return f"Address({self.variable})"

    def hide(self, text: str) -> str:
        """A text without the URL and the passwords in it, as they are written there and as they are meant."""
        secrets = {self.url}
        parts = urlsplit(self.url)
        secrets.add(parts.netloc.rpartition("@")[0].partition(":")[2])
        for name, values in parse_qs(parts.query).items():
            if "pass" in name or "key" in name:
                secrets.update(values)
        for secret in sorted({*secrets, *map(unquote, secrets)} - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text.strip()

    @property
    def shown(self) -> str:
        """Host, port and database, for messages."""
        parts = urlsplit(self.url)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def missing_driver(package: str) -> SettingsError:
    """The error for a driver that is not installed."""
    return SettingsError(
        f"the driver {package} is not installed", fix="install the extra: pip install 'ecommerce_platform[sources]'"
    )


def no_table(name: str, address: Address, others: Sequence[str]) -> InputError:
    """The error for a table that is not there, with the names that come nearest."""
    from difflib import get_close_matches

    near = get_close_matches(name, others, n=5, cutoff=0.5) or sorted(others)[:10]
    return InputError(
        f"there is no table {name!r}, or the user may not see it",
        where=f"{address.variable} ({address.shown})",
        fix=f"correct `extract.table` in source.yml ({'there are ' + ', '.join(near) if near else 'no table can be seen'}), "
        "or grant SELECT on it",
    )


def refused(what: str, address: Address, fix: str) -> InputError:
    """The error for what the database refuses and will refuse again."""
    return InputError(address.hide(what), where=f"{address.variable} ({address.shown})", fix=fix)


def lost(what: str, address: Address) -> ConnectionLost:
    """The error for a database that does not answer, or no longer."""
    return ConnectionLost(
        address.hide(" ".join(what.split())),
        where=f"{address.variable} ({address.shown})",
        fix="check that the server runs and can be reached, then extract again; nothing half-read stays",
    )


def midnight(day: date) -> datetime:
    """The first moment of a day."""
    return datetime(day.year, day.month, day.day)
