"""A snapshot that is open: one DuckDB, closed when it was retired and the last who reads it is done. Which one is
current, and who may ask how much, is in `reader.py`."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ecommerce_platform.reading.snapshots import open_snapshot, read_manifest

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
#: A table as our own SELECTs name it.
_TABLE = re.compile(r'\b([a-z]+)\."?([a-z][a-z0-9_]*)')
_SCHEMAS = {"silver", "gold", "ml", "about"}
#: What is said beside so many questions is kept.
_KEPT = 4096


def stamp(folder: Path) -> str:
    """Another one once something in a snapshot was rewritten (`ecommerce forget`); empty where it is gone."""
    try:
        stat = (folder / "manifest.json").stat()
    except OSError:
        return ""
    return f"{stat.st_ino:x}{stat.st_mtime_ns:x}"


class Opened:
    """One snapshot with its database; counted by `enter` and `leave`.

    Args:
        folder: the snapshot's own folder.
        config: DuckDB settings, as `open_snapshot` takes them.

    Raises:
        InputError: there is no such snapshot, or it is damaged.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.id, self.folder = folder.name, folder
        self.stamp = stamp(folder)
        #: Stands for its content: of a snapshot that a person was taken out of it is another than before.
        self.version = f"{self.id}-{self.stamp}"
        self.manifest = read_manifest(folder)
        self.tables: dict[str, dict[str, Any]] = self.manifest["tables"]
        self.published_at = datetime.fromisoformat(self.manifest["published_at"]).astimezone(UTC)
        self._con = open_snapshot(folder, config)
        self._lock, self._users, self._retired = Lock(), 0, False
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, worked out once for this snapshot; the same key always stands for the same."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def read_by(self, sql: str) -> str | frozenset[tuple[str, str]]:
        """What a SELECT of our own code reads: its tables, each with the hash of its file.

        The same for another snapshot that has the same files, where the answer is the same, too. A SELECT of which that
        can't be said (about the snapshot itself, or of a snapshot without hashes) is answered by this version alone.
        """
        named = {f"{schema}.{name}" for schema, name in re.findall(_TABLE, sql) if schema in _SCHEMAS}
        hashes = {(name, self.tables.get(name, {}).get("sha256") or "") for name in named}
        return frozenset(hashes) if hashes and all(found for _, found in hashes) else self.version

    def answers(self, read: str | frozenset[tuple[str, str]]) -> bool:
        """Whether what was read (`read_by`) is what this snapshot holds."""
        if isinstance(read, str):
            return read == self.version
        return all(self.tables.get(name, {}).get("sha256") == found for name, found in read)

    def enter(self) -> bool:
        """Counts one who reads; False if it is closed already."""
        with self._lock:
            if self._retired and not self._users:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Counts one out; the last of a retired snapshot closes it."""
        with self._lock:
            self._users -= 1
            done = self._retired and not self._users
        if done:
            self._con.close()

    def retire(self) -> None:
        """Nobody new comes: closed at once, or when the last is done."""
        with self._lock:
            first, self._retired = not self._retired, True
            done = first and not self._users
        if done:
            self._con.close()

    @property
    def users(self) -> int:
        """How many read it now."""
        return self._users

    def cursor(self) -> DuckDBPyConnection:
        """A connection of one's own to the same database; only between `enter` and `leave`."""
        return self._con.cursor()
