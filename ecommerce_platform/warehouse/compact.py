"""Writing the warehouse file anew, so that nothing is left in it of what was deleted.

DuckDB frees the blocks of deleted rows but does not overwrite them, and the log keeps what it said until the next
checkpoint. So all tables are copied into a new file that takes the old one's place. Nobody can write into the file that
goes: it stays locked until the new one is in place, and whoever opens the warehouse does so under a lock that the exchange
takes alone (`connection.opening`).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.disk import sync
from ecommerce_platform.warehouse.connection import Warehouse, opening

_log = logging.getLogger(__name__)
_SUFFIX = ".compact"


def compact(warehouse: Warehouse, log: logging.Logger | Any = _log) -> tuple[int, int]:
    """Replaces the warehouse file by one that holds its tables and nothing else. Takes as much room as the tables.

    A kill leaves the old file or the new one.

    Returns:
        Bytes before and afterwards.

    Raises:
        Exception: DuckDB's or the system's own (a full disk, say); the warehouse is as it was.
    """
    path = warehouse.path
    new = path.with_name(path.name + _SUFFIX)
    logs = [p.with_name(p.name + ".wal") for p in (path, new)]
    with warehouse.connect(log) as con:
        for left in (new, logs[1]):
            left.unlink(missing_ok=True)
        row = con.execute("select current_database()").fetchone()
        assert row is not None
        con.execute("checkpoint")
        before = path.stat().st_size
        target = str(new).replace("'", "''")
        try:
            con.execute(f"attach '{target}' as _compact")
            con.execute(f"copy from database {quote(row[0])} to _compact")
            con.execute("checkpoint _compact")
            con.execute("detach _compact")
        except BaseException:
            for left in (new, logs[1]):
                left.unlink(missing_ok=True)
            raise
        sync(new)
        with opening(path, alone=True):
            os.replace(new, path)
            logs[0].unlink(missing_ok=True)  # of the old file; after the checkpoint it says nothing
            sync(path.parent)
            con.close()
    return before, path.stat().st_size
