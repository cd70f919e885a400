"""Making Dagster's SQLite event log cheap enough for many small steps.

Dagster opens and closes a SQLite connection for every event. When the last connection to a database in WAL mode
closes, SQLite writes the log back and syncs the disk: measured, this and the sync of each commit were half of the
cost of a step (54 → 26 ms; decision note 0003). Two settings of SQLite itself change that, through SQLAlchemy's
public events: one idle connection per database is kept open in this process, and commits are not synced one by
one. A killed process loses nothing; a machine that loses power may lose the last events, never the data.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

_kept: dict[str, sqlite3.Connection] = {}
_homes: set[Path] = set()


def keep_event_log_fast(home: Path) -> None:
    """Applies to the SQLite databases below `home` (DAGSTER_HOME) and no others; safe to call again."""
    if not _homes:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "connect", _on_connect)
    _homes.add(home.resolve())


def _on_connect(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    path = next((row[2] for row in connection.execute("pragma database_list") if row[1] == "main"), "")
    if not path or not any(Path(path).resolve().is_relative_to(home) for home in _homes):
        return
    connection.execute("pragma synchronous = normal")
    if path in _kept:
        return
    idle = sqlite3.connect(path, check_same_thread=False)
    idle.execute("pragma journal_mode = wal").fetchall()
    idle.execute("select count(*) from sqlite_master").fetchall()
    _kept[path] = idle
