"""MySQL and MariaDB, through PyMySQL: rows stream in unbuffered, every value as the text that the server sends.

What the server would not send exactly, or not as text, is asked for in another way: binary values as hexadecimal digits
behind `0x`, as its own client shows them; bits as a number; shapes as text; a FLOAT, of which the server shows six digits, as
the shortest number that is the same. A TIMESTAMP is read in UTC and written on the shop's clock, whether or not the
server knows the zone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ecommerce_platform.ingestion.extraction.database import (
    Clock,
    Column,
    Database,
    Table,
    lost,
    missing_driver,
    no_table,
    refused,
)
from ecommerce_platform.ingestion.extraction.staging import text_batches

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_CLOCKS: dict[str, Clock] = {"timestamp": "instant", "datetime": "local", "date": "date"}
_BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_SHAPES = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
           "geometrycollection", "geomcollection"}  # fmt: skip
#: What the URL may say behind the question mark.
_OPTIONS = ("ssl_ca", "ssl_cert", "ssl_key", "unix_socket")
#: Codes of what may be otherwise at the next try: the server is away, full, or has cut the connection.
_PASSING = {1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1213, 1226, 1317, 1412, 1927, 2002, 2003,
            2006, 2013, 2014, 2027, 2055, 3159, 4031}  # fmt: skip
_FIXES = {
    1044: "correct the URL, or grant the user rights on the database",
    1045: "correct user and password in the URL",
    1049: "correct the database in the URL",
    1130: "allow this host for the user (CREATE USER … @'host')",
    1142: "grant the user SELECT on the table",
    1143: "grant the user SELECT on all columns of the table",
    1146: "correct `extract.table` in source.yml",
}


class MySQL(Database):
    """A MySQL or MariaDB database, read in one consistent snapshot (of InnoDB tables; others are said)."""

    connection: Any = None
    strict = False  # 0000-00-00 is no null

    def open(self) -> None:
        """Connects and begins the snapshot."""
        try:
            import pymysql
            from pymysql.converters import conversions
        except ImportError:
            raise missing_driver("pymysql") from None
        parts = urlsplit(self.address.url)
        options = dict(parse_qsl(parts.query))
        if unknown := options.keys() - set(_OPTIONS):
            raise refused(
                f"the URL says {', '.join(sorted(unknown))}", self.address, f"it may say {', '.join(_OPTIONS)}"
            )
        with _explained(self):
            self.connection = pymysql.connect(
                host=parts.hostname or "localhost",
                port=parts.port or 3306,
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                database=unquote(parts.path.strip("/")),
                charset="utf8mb4",
                connect_timeout=15,
                read_timeout=600,
                # Values stay the text that the server sends.
                conv={k: v for k, v in conversions.items() if not isinstance(k, int)},
                **options,
            )
        self._ask("set session time_zone = '+00:00', sql_mode = '', net_write_timeout = 3600")
        self._ask("set session transaction isolation level repeatable read")
        for limit in ("max_statement_time", "max_execution_time"):  # MariaDB's and MySQL's
            with suppress(pymysql.err.Error), self.connection.cursor() as cursor:
                cursor.execute(f"set session {limit} = 0")
        self._ask("start transaction with consistent snapshot, read only")
        ((now,),) = self._ask("select utc_timestamp(6)")
        self.now = datetime.fromisoformat(now)

    def close(self) -> None:
        """Ends the connection without reading what is still to come."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(Exception):  # it is gone already
                connection.close()

    def utc_now(self) -> datetime:
        """The server's clock when the snapshot had begun."""
        return self.now

    def table(self, name: str) -> Table:
        """Columns, primary key and the engine's estimate of rows."""
        schema, _, table = name.rpartition(".")
        where = f"table_schema = {self._literal(schema) if schema else 'database()'}"
        found = self._ask(
            "select table_name, engine, table_rows, table_type from information_schema.tables "
            f"where {where} and table_name = {self._literal(table)}"
        )
        if not found:
            others = self._ask(f"select table_name from information_schema.tables where {where}")
            raise no_table(name, self.address, [other for (other,) in others])
        _, engine, rows, kind = found[0]
        columns = self._ask(
            "select column_name, data_type, column_type, is_nullable, numeric_scale from information_schema.columns "
            f"where {where} and table_name = {self._literal(table)} order by ordinal_position"
        )
        key = self._ask(
            "select column_name from information_schema.statistics "
            f"where {where} and table_name = {self._literal(table)} and index_name = 'PRIMARY' order by seq_in_index"
        )
        notes = []
        if kind == "BASE TABLE" and (engine or "").lower() not in ("innodb", "rocksdb"):
            notes.append(
                f"{name} is kept by {engine}, which has no snapshots: rows written while it is read may be in it"
            )
        return Table(
            ".".join(self.quote(part) for part in name.split(".")),
            tuple(
                Column(
                    column, said, self._value(column, kind.lower(), scale), nullable == "YES", _CLOCKS.get(kind.lower())
                )
                for column, kind, said, nullable, scale in columns
            ),
            tuple(column for (column,) in key),
            int(rows) if rows is not None else None,
            tuple(notes),
        )

    def quote(self, name: str) -> str:
        """A name in backticks."""
        return "`" + name.replace("`", "``") + "`"

    def moment(self, column: Column, at: datetime) -> str:
        """A literal; the session's zone is UTC, so it means the instant for a TIMESTAMP."""
        return f"'{at:%Y-%m-%d}'" if column.clock == "date" else f"'{at:%Y-%m-%d %H:%M:%S.%f}'"

    def unset(self, column: Column) -> str:
        """Null, or the date that stands for none: 0000-00-00."""
        name = f"t.{self.quote(column.name)}"
        return f"({name} is null or {name} < '1000-01-01')"

    def newest(self, table: Table, column: Column, since: datetime | None, until: datetime) -> datetime | None:
        """The latest time, as the server compares."""
        name = f"t.{self.quote(column.name)}"
        since = since or datetime(1000, 1, 1)
        ((found,),) = self._ask(
            f"select cast(max({name}) as char) from {table.name} as t "
            f"where {name} >= {self.moment(column, since)} and {name} <= {self.moment(column, until)}"
        )
        return datetime.fromisoformat(found) if found else None

    def batches(self, sql: str, table: Table) -> Generator[RecordBatch]:
        """Batches of so many rows, fewer of wide ones."""
        from pymysql.cursors import SSCursor

        special: dict[int, Callable[[Sequence[str | None]], Sequence[str | None]]] = {}
        for number, column in enumerate(table.columns):
            if column.clock == "instant":
                special[number] = self._shop_times
            elif column.type.lower().startswith("float") and column.sql.startswith("cast"):
                special[number] = _shortest
        with _explained(self):
            cursor = self.connection.cursor(SSCursor)
            try:
                cursor.execute(sql)

                yield from text_batches([c.name for c in table.columns], cursor.fetchmany, _text, special)
            finally:
                self._abandon(cursor)

    def _abandon(self, cursor: Any) -> None:
        """Ends a stream where it stands. PyMySQL would read it to its end first, or try to and say that it cannot."""
        result = cursor._result
        if result is not None and result.unbuffered_active:
            self.close()
            result.unbuffered_active = False
            cursor.connection = None

    def _value(self, name: str, kind: str, scale: str | None) -> str:
        column = f"t.{self.quote(name)}"
        if kind in _BINARY:
            return f"concat('0x', hex({column}))"
        if kind == "bit":
            return f"cast({column} as unsigned)"
        if kind in _SHAPES:
            return f"st_astext({column})"
        if kind == "float" and scale is None:
            return f"cast({column} as double)"
        return column

    def _shop_times(self, values: Sequence[str | None]) -> Sequence[str | None]:
        """Times in UTC on the shop's clock, written as they were; 0000-00-00 is no time."""

        def shown(value: str | None) -> str | None:
            if value is None or value.startswith("0000"):
                return value
            whole, dot, fraction = value.partition(".")
            return f"{self.local(datetime.fromisoformat(whole)):%Y-%m-%d %H:%M:%S}{dot}{fraction}"

        return [shown(value) for value in values]

    @staticmethod
    def _literal(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with _explained(self), self.connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(_text(value) for value in row) for row in cursor.fetchall()]


def _text(value: Any) -> str | None:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _shortest(values: Sequence[str | None]) -> Sequence[str | None]:
    """Doubles that hold a FLOAT's value as the shortest text that gives the same FLOAT."""

    def shown(value: str | None) -> str | None:
        if value is None:
            return None
        exact = float(value)
        for digits in range(6, 10):
            text = f"{exact:.{digits}g}"
            if struct.pack("f", float(text)) == struct.pack("f", exact):
                return text
        return value

    return [shown(value) for value in values]


@contextmanager
def _explained(database: MySQL) -> Iterator[None]:
    """Turns what the driver raises into what the user can do; nothing of the URL gets out."""
    import pymysql

    address = database.address
    try:
        yield
    except pymysql.err.InternalError as error:  # packets out of order: a connection that was cut
        raise lost(_said(error), address) from None
    except pymysql.err.Error as error:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if code in _PASSING or isinstance(error, pymysql.err.InterfaceError) or not code:
            raise lost(_said(error), address) from None
        fix = _FIXES.get(code, "correct `extract` in source.yml, or the rights of the user")
        raise refused(_said(error), address, fix) from None
    except RuntimeError as error:  # how PyMySQL says that a package is missing that encrypts the password
        if "cryptography" not in str(error):
            raise
        raise refused(str(error), address, "pip install cryptography, or connect with TLS (ssl_ca)") from None
    except (OSError, AssertionError, struct.error, IndexError) as error:
        raise lost(f"the connection broke off ({type(error).__name__}: {error})", address) from None


def _said(error: Exception) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__
