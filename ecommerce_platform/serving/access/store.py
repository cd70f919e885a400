"""The small SQLite file behind users, keys, sessions, saved views, thresholds, sent reports and the audit log: where it is, what is in it.

It belongs to the owner of the data folder alone (mode 600) and holds no secret in clear: passwords as scrypt, keys, sessions and
links as SHA-256 of at least 128 random bits. What is done with its rows is in the modules beside.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecommerce_platform.errors import SettingsError

NAME = "serving.db"
#: What each version has more than the one before.
_VERSIONS = (
    """
create table users (
    name text primary key, role text not null, password text not null, created_at real not null,
    failures integer not null default 0, failed_at real, locked_until real
);
create table keys (
    id text primary key, name text not null, role text not null, hash text not null, created_at real not null,
    expires_at real, used_at real, revoked_at real
);
create table sessions (
    hash text primary key, user text not null, role text not null, created_at real not null, seen_at real not null,
    expires_at real not null
);
create table links (hash text primary key, expires_at real not null);
create table audit (at real not null, who text not null, action text not null, object text, outcome text not null);
create index audit_by_time on audit (at);
create index audit_by_object on audit (object);
create table views (
    id integer primary key, owner text not null, name text not null, page text not null, query text not null,
    shared integer not null default 0, created_at real not null, unique (owner, name)
);
create table thresholds (
    id integer primary key, owner text not null, name text not null, metric text not null, period text not null,
    filters text not null default '[]', below real, above real, created_at real not null, unique (owner, name)
);
""",
    """
create table reports_sent (
    recipient text not null, every text not null, period text not null, at real not null, primary key (recipient, period)
)
""",
)


class Store:
    """The database of one data folder; made where there is none. Threads have a connection each.

    Args:
        path: the file.

    Raises:
        SettingsError: it is of a later version, or no such database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made before SQLite does, so that it is never anybody else's to read; its -wal and -shm get the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
        with self.write() as con:
            (version,) = con.execute("pragma user_version").fetchone()
            for number, tables in enumerate(_VERSIONS[version:], version + 1):
                for statement in tables.split(";"):
                    con.execute(statement)
                con.execute(f"pragma user_version = {number}")
        if version > len(_VERSIONS):
            raise SettingsError(f"it is of a later version ({version})", where=path, fix="update ecommerce_platform")

    def _connection(self) -> sqlite3.Connection:
        con = getattr(self._local, "con", None)
        if con is None:
            con = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            con.row_factory = sqlite3.Row
            try:
                con.execute("pragma journal_mode = wal")
                con.execute("pragma synchronous = normal")
                con.execute("pragma secure_delete = on")  # what is forgotten is not left in free pages
            except sqlite3.DatabaseError as error:
                con.close()
                raise SettingsError(f"it is no database: {error}", where=self.path, fix="move it away") from None
            self._local.con = con
        return con

    def read(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """The rows of a SELECT."""
        return self._connection().execute(sql, values).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside."""
        con = self._connection()
        con.execute("begin immediate")
        try:
            yield con
        except BaseException:
            con.execute("rollback")
            raise
        con.execute("commit")
