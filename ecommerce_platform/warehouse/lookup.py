"""What there is in the warehouse, asked table by table.

Listing DuckDB's catalog (`duckdb_tables()`, `information_schema`) reads the storage of every table: 50 ms in a file that
was just opened with a million orders, several times the work of a small load. Naming a table costs a third of a
millisecond. Nothing here changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecommerce_platform.contracts.ddl import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def table_exists(con: DuckDBPyConnection, schema: str, name: str) -> bool:
    """Whether the table was there when the current transaction began."""
    import duckdb

    # A cursor of its own: an error about a missing table would end the transaction of `con`.
    cursor = con.cursor()
    try:
        cursor.execute(f"select 1 from {quote(schema)}.{quote(name)} limit 0")
    except duckdb.CatalogException:
        return False
    finally:
        cursor.close()
    return True


def column_types(con: DuckDBPyConnection, table: str) -> dict[str, str]:
    """Column → type of a table that exists, in order; `table` as SQL writes it."""
    return {name: kind for name, kind, *_ in con.execute(f"describe {table}").fetchall()}


def row_count(con: DuckDBPyConnection, schema: str, table: str) -> int:
    """Rows of a table."""
    row = con.execute(f"select count(*) from {schema}.{quote(table)}").fetchone()
    return int(row[0]) if row else 0
