"""The audit log: who did what to which object when, by ids, without any value. Who reads it is in `roles.py`.

Written by a thread of its own, a second's worth at a time, so that no request waits for it. Kept for a year.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from threading import Lock, Timer
from typing import Any

from ecommerce_platform.serving.access.store import Store

_log = logging.getLogger(__name__)
#: Seconds that a line stays.
KEPT = 365 * 86_400.0
_EVERY = 0.5
#: Lines that wait to be written; more are written at once by whoever adds one.
_MOST = 1000


class Audit:
    """The log of one store.

    Args:
        store: where it is.
        clock: gives the present in seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store, self.clock = store, clock
        self._lock = Lock()
        self._lines: list[tuple[Any, ...]] = []
        self._timer: Timer | None = None

    def note(self, who: str, action: str, object_: str | None = None, outcome: str = "done") -> None:
        """Notes what somebody did; it is on disk a moment later.

        Args:
            who: as `Who.id`.
            action: a word, such as `sql`.
            object_: the id of what it was done to; never a value.
            outcome: `done`, or why not.
        """
        with self._lock:
            self._lines.append((self.clock(), who, action, object_, outcome))
            if self._timer is None:
                self._timer = Timer(_EVERY, self.flush)
                self._timer.daemon = True
                self._timer.start()
            full = len(self._lines) >= _MOST
        if full:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        with self._lock:
            lines, self._lines = self._lines, []
            if self._timer:
                self._timer.cancel()
            self._timer = None
        if not lines:
            return
        try:
            with self.store.write() as con:
                con.executemany("insert into audit values (?, ?, ?, ?, ?)", lines)
                con.execute("delete from audit where at < ?", (self.clock() - KEPT,))
        except sqlite3.Error as error:
            # Whoever asked was answered already; who reads the log of the server sees what the audit log lacks.
            _log.error("the audit log cannot be written (%s): %s lines are lost", error, len(lines))

    def lines(self, *, limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
        """The newest lines first: at (seconds since 1970), who, action, object, outcome."""
        self.flush()
        rows = self.store.read(
            "select at, who, action, object, outcome from audit order by at desc, rowid desc limit ? offset ?",
            (limit, offset),
        )
        return [dict(row) for row in rows]
