"""Where a value still stands: in any file of a folder, packed or not, and in any column of any table."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.ingestion.gunzip import MAGIC, gunzip

_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")


def traces(folder: Path, values: Collection[str]) -> list[str]:
    """Every file, table and column below `folder` that holds one of the values, whatever case it is written in.

    Files are searched byte by byte (unpacked, too), Parquet files and databases besides by query.
    """
    needles = {v.lower().encode(e, "ignore") for v in values for e in _ENCODINGS}
    found: list[str] = []
    known: set[int] = set()
    memory = duckdb.connect(config={"threads": 1})
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.stat().st_ino in known:  # another name of a file that was looked into
            continue
        known.add(path.stat().st_ino)
        data = path.read_bytes()
        packed = b"".join(gunzip([data], [])) if data.startswith(MAGIC) else b""
        content = (data + packed).lower()
        if any(needle in content for needle in needles):
            found.append(str(path.relative_to(folder)))
        if path.suffix in (".parquet", ".duckdb"):
            found += [f"{path.relative_to(folder)}: {where}" for where in _in_tables(memory, path, values)]
    return found


def _in_tables(memory: duckdb.DuckDBPyConnection, path: Path, values: Collection[str]) -> Iterator[str]:
    if path.suffix == ".parquet":
        yield from _in_columns(memory, f"read_parquet('{path}')", values)
        return
    with duckdb.connect(str(path), read_only=True) as con:
        for schema, table in con.execute("select schema_name, table_name from duckdb_tables()").fetchall():
            yield from _in_columns(con, f'{schema}."{table}"', values)


def _in_columns(con: duckdb.DuckDBPyConnection, table: str, values: Collection[str]) -> Iterator[str]:
    pattern = "(?i)" + "|".join(re.escape(value) for value in values)
    described = con.execute(f"describe select * from {table}").fetchall()
    columns = [column for column, kind, *_ in described if kind in ("VARCHAR", "DATE", "BLOB") or "[" in kind]
    if not columns:
        return
    counts = ", ".join(f"count(*) filter (regexp_matches(cast({quote(c)} as varchar), $p))" for c in columns)
    found = con.execute(f"select {counts} from {table}", {"p": pattern}).fetchone()
    yield from (f"{table}.{column}" for column, count in zip(columns, found or (), strict=True) if count)
