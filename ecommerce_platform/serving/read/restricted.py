"""Personal columns in clear: from the snapshot's `restricted/` folder, one person at a time, for whoever may see them.

Only a process whose roles allow it opens these files, each time anew and with nothing else in reach; no SQL of anybody
runs here, and nothing is kept. How they are written is in `publishing/publish.py`.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.read.reader import View


def in_clear(view: View, table: str, key: str) -> dict[str, Any]:
    """The personal columns of one row of a table; empty where nothing personal is held.

    Args:
        view: of the snapshot.
        table: `schema.table`.
        key: of the row; the table has a key of one column.

    Raises:
        InputError: this snapshot holds none in clear, or this process may not read them.
    """
    import duckdb

    entry = view.manifest.get("restricted", {}).get(table)
    if entry is None:
        raise InputError(f"this snapshot holds nothing of {table} in clear", fix="`ecommerce publish` writes it")
    (column,) = entry["key"]
    path = Path(view.folder) / entry["file"]
    names = ", ".join(map(quote, entry["columns"]))
    try:
        with closing(duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB"})) as con:
            row = con.execute(
                f"select {names} from read_parquet(?) where {quote(column)} = ?", [str(path), key]
            ).fetchone()
    except duckdb.Error as error:
        raise InputError(f"what is in clear cannot be read: {str(error).splitlines()[0]}", where=path.parent) from None
    return dict(zip(entry["columns"], row, strict=True)) if row else {}
