"""PostgreSQL, through ADBC: rows stream in from COPY, every value as the text that COPY would write.

The server itself turns values into text: exact for every type there is, and as fast as reading them typed (measured:
`python -m benchmarks.extract`). Session settings fix what that text depends on.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.ingestion.extraction.database import (
    BATCH_BYTES,
    Clock,
    Column,
    Database,
    Table,
    lost,
    midnight,
    missing_driver,
    no_table,
    refused,
)

if TYPE_CHECKING:
    from pyarrow import RecordBatch

#: Types whose cast to text gives the very text of their output function, as all arrays and enums do. Others have casts
#: of their own (a boolean's gives true for t, that of char(n) drops blanks).
_CAST = frozenset(
    [
        "text",
        "varchar",
        "int2",
        "int4",
        "int8",
        "numeric",
        "float4",
        "float8",
        "date",
        "timestamp",
        "timestamptz",
        "time",
        "timetz",
        "interval",
        "uuid",
        "json",
        "jsonb",
        "bytea",
    ]
)
_CLOCKS: dict[str, Clock] = {"timestamptz": "instant", "timestamp": "local", "date": "date"}
#: What libpq is told unless the URL says otherwise: a server that has gone is noticed within minutes.
_DEFAULTS = {
    "application_name": "ecommerce_platform",
    "connect_timeout": "15",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "tcp_user_timeout": "120000",
}
#: Beginnings of what the server says when it will say the same again; libpq has no code for a failed connection.
_FINAL = {
    "password authentication failed": "correct user and password in the URL",
    "no password supplied": "write the password into the URL, or into ~/.pgpass",
    "no pg_hba.conf entry": "allow this user and host in the server's pg_hba.conf",
    "does not exist": "correct the URL",
    "permission denied": "grant the user what is missing: CONNECT on the database, USAGE on the schema, SELECT on the table",
    "server does not support SSL": "take sslmode out of the URL, or switch SSL on at the server",
    "certificate verify failed": "set sslrootcert in the URL to the authority's certificate",
}


class PostgreSQL(Database):
    """A PostgreSQL database, read in one REPEATABLE READ transaction."""

    connection: Any = None
    zoned = True

    def open(self) -> None:
        """Connects and begins the transaction."""
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError:
            raise missing_driver("adbc-driver-postgresql") from None
        parts = urlsplit(self.address.url)
        options = {**_DEFAULTS, **dict(parse_qsl(parts.query, keep_blank_values=True))}
        query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        with _explained(self):
            self.connection = dbapi.connect(
                urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")), autocommit=True
            )
        self._ask("begin isolation level repeatable read, read only")
        # For the transaction alone: behind a pooler the next one may have another session.
        for setting, value in {
            "TimeZone": str(self.zone), "DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "1",
            "bytea_output": "hex", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
        }.items():  # fmt: skip
            self._ask(f"set local {setting} = '{value}'")
        ((encoding,),) = self._ask("select current_setting('server_encoding')")
        if encoding == "SQL_ASCII":
            raise refused(
                "the database does not say how its text is encoded (SQL_ASCII)",
                self.address,
                "extract from a database with an encoding (UTF8, say): dump it, and restore it into one that has one",
            )

    def close(self) -> None:
        """Ends transaction and connection; never fails."""
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:  # it is gone already
                return

    def utc_now(self) -> datetime:
        """The server's clock after the snapshot was taken.

        Not `now()`: a transaction begins before its first look at the data, and a row written in between would be read and
        lie beyond the mark, so that it comes a second time once its file has left the window that is looked back on.
        """
        ((now,),) = self._ask("select cast(clock_timestamp() at time zone 'UTC' as text)")
        return datetime.fromisoformat(now)

    def table(self, name: str) -> Table:
        """Columns, primary key and the planner's count of rows."""
        sql = ".".join(self.quote(part) for part in name.split("."))
        literal = self._literal(sql)
        ((oid, kind, rows),) = self._ask(
            "select cast(c.oid as text), cast(c.relkind as text), cast(c.reltuples as text) "
            f"from (select to_regclass({literal}) as oid) as r left join pg_class as c on c.oid = r.oid"
        )
        if oid is None or kind not in "rvmpf":
            others = self._ask(
                "select case when pg_table_is_visible(c.oid) then c.relname else n.nspname || '.' || c.relname end "
                "from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.relkind in "
                "('r', 'v', 'm', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') "
                "and has_table_privilege(c.oid, 'select')"
            )
            raise no_table(name, self.address, [other for (other,) in others])
        columns = self._ask(
            "select cast(a.attname as text), format_type(a.atttypid, a.atttypmod), cast(a.attnotnull as text), "
            "cast(coalesce(b.typname, t.typname) as text), cast(coalesce(b.typtype, t.typtype) as text), "
            "cast(coalesce(b.typcategory, t.typcategory) as text) from pg_attribute as a "
            "join pg_type as t on t.oid = a.atttypid left join pg_type as b on t.typtype = 'd' and b.oid = t.typbasetype "
            f"where a.attrelid = {oid} and a.attnum > 0 and not a.attisdropped order by a.attnum"
        )
        key = self._ask(
            "select cast(a.attname as text) from pg_index as i "
            "join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) "
            f"where i.indrelid = {oid} and i.indisprimary order by array_position(cast(i.indkey as int2[]), a.attnum)"
        )
        return Table(
            sql,
            tuple(
                Column(column, said, self._text(column, base, form, category), filled != "true", _CLOCKS.get(base))
                for column, said, filled, base, form, category in columns
            ),
            tuple(column for (column,) in key),
            int(float(rows)) if float(rows) >= 0 and kind in "rmp" else None,
        )

    def quote(self, name: str) -> str:
        """A name in double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def moment(self, column: Column, at: datetime) -> str:
        """A literal of the column's type."""
        if column.clock == "instant":
            return f"timestamptz '{at.isoformat(sep=' ')}+00'"
        return f"date '{at:%Y-%m-%d}'" if column.clock == "date" else f"timestamp '{at.isoformat(sep=' ')}'"

    def unset(self, column: Column) -> str:
        """Null, or before all time."""
        name = f"t.{self.quote(column.name)}"
        return f"({name} is null or {name} = '-infinity')"

    def newest(self, table: Table, column: Column, since: datetime | None, until: datetime) -> datetime | None:
        """The latest time, as the server compares."""
        name = f"t.{self.quote(column.name)}"
        conditions = [f"{name} <= {self.moment(column, until)}", f"{name} > '-infinity'"]
        if since is not None:
            conditions.append(f"{name} >= {self.moment(column, since)}")
        value = f"max({name}) at time zone 'UTC'" if column.clock == "instant" else f"max({name})"
        ((found,),) = self._ask(f"select cast({value} as text) from {table.name} as t where {' and '.join(conditions)}")
        if found is None:
            return None
        try:
            return datetime.fromisoformat(found)
        except ValueError:  # before Christ
            return midnight(datetime.min.date())

    def batches(self, sql: str, table: Table) -> Generator[RecordBatch]:
        """Record batches as COPY brings them."""
        import pyarrow as pa

        schema = pa.schema([(column.name, pa.string()) for column in table.columns])
        with _explained(self), self.connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    def _text(self, name: str, base: str, form: str, category: str) -> str:
        column = f"t.{self.quote(name)}"
        if base in _CAST or form == "e" or category == "A":
            return f"cast({column} as text)"
        if base == "bool":
            return f"case {column} when true then 't' when false then 'f' end"
        # The output function of whatever type it is; format() writes nothing for null.
        return f"case when {column} is not null then format('%s', {column}) end"

    @staticmethod
    def _literal(text: str) -> str:
        return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with _explained(self), self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []


class _explained:
    """Turns what the driver raises into what the user can do; nothing of the URL gets out."""

    def __init__(self, database: PostgreSQL) -> None:
        self.address = database.address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, at: Any) -> None:
        if error is None or isinstance(error, PlatformError) or not isinstance(error, Exception):
            return
        from adbc_driver_manager import Error

        # Where a stream breaks off, ADBC raises an OSError without a code.
        if not isinstance(error, (Error, OSError)):
            return
        code, text = getattr(error, "sqlstate", None) or "", str(error).partition("\n\nQuery was:")[0]
        if code == "42P01":
            raise refused(text, self.address, "correct `extract.table` in source.yml") from None
        fix = next((fix for said, fix in _FINAL.items() if said in text), None)
        if fix and (not code or code == "42501"):
            raise refused(text, self.address, fix) from None
        if not code or code[:2] in ("08", "53", "57", "40", "25", "58", "XX"):
            raise lost(text, self.address) from None
        raise refused(text, self.address, "correct `extract` in source.yml, or the rights of the user") from None
