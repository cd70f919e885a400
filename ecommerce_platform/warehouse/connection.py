"""The warehouse file: who may open it, how long, and with which limits.

DuckDB locks its file per process. So a connection is held only while SQL runs, whoever finds the file locked
waits and says for whom, and a warehouse that belongs to another source is refused. How results become tables
is in `write.py`; nothing here knows a table.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import SettingsError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MACROS = Path(__file__).with_name("macros.sql")
#: Seconds between attempts while another process holds the file: short at first, never busy.
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
#: Seconds between two log lines about the same wait.
_REPEAT_LOG = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file that belongs to one source.

    Args:
        path: the file; created with its folder when first opened.
        source: name of the source whose data it holds, recorded inside.
        config: DuckDB settings used for every connection (`memory_limit`, `threads`, `temp_directory` …).
    """

    path: Path
    source: str
    config: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def connect(self, log: logging.Logger | Any = _log) -> Iterator[DuckDBPyConnection]:
        """A connection, held until the block ends and closed whatever happens in it.

        Waits without limit while another process has the file open; says so in `log`, naming that process.

        Raises:
            SettingsError: the file holds another source's data, or is no warehouse.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if temp := self.config.get("temp_directory"):
            Path(temp).mkdir(parents=True, exist_ok=True)
        con = self._open_waiting(log)
        try:
            self._prepare(con)
            yield con
        finally:
            con.close()

    def _open_waiting(self, log: Any) -> DuckDBPyConnection:
        import duckdb

        started, wait, logged = time.monotonic(), _FIRST_WAIT, -_REPEAT_LOG
        while True:
            try:
                with opening(self.path):
                    return duckdb.connect(str(self.path), config=self.config)
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    raise SettingsError(
                        f"the warehouse cannot be opened: {error}",
                        where=self.path,
                        fix="move it away and run `ecommerce build`: the drops under raw/ give every table back "
                        "(docs/runbook.md, The warehouse is damaged)",
                    ) from None
                waited = time.monotonic() - started
                if waited - logged >= _REPEAT_LOG:
                    log.info(f"waiting for {self.path}: {_holder(str(error))} has it open ({waited:.0f} s so far)")
                    logged = waited
                time.sleep(wait)
                wait = min(wait * 1.5, _LONGEST_WAIT)

    def _prepare(self, con: DuckDBPyConnection) -> None:
        """Schemas, conversion macros and the owner's name, written once per version of them."""
        from hashlib import sha256

        macros = MACROS.read_text(encoding="utf-8")
        version = sha256(macros.encode()).hexdigest()[:16]
        import duckdb

        try:
            # fetchall: a result that is not read to its end keeps `con.sql` from being used afterwards.
            found = con.execute("select source, macros_version from main.warehouse_info").fetchall()
        except duckdb.CatalogException:  # a new file; asking the catalog first would cost every connection 10 ms
            found = []
        row = found[0] if found else None
        if row and row[0] != self.source:
            raise SettingsError(
                f"this warehouse holds the source {row[0]!r}, not {self.source!r}",
                where=self.path,
                fix=f"set ECOMMERCE_DATA_DIR to another folder, or ECOMMERCE_SOURCE={row[0]}",
            )
        if row and row[1] == version:
            return
        con.execute("begin")
        for schema in ("bronze", "silver", "gold", "ml"):
            con.execute(f"create schema if not exists {schema}")
        con.execute(macros)
        con.execute("create or replace table main.warehouse_info (source varchar, macros_version varchar)")
        con.execute("insert into main.warehouse_info values (?, ?)", [self.source, version])
        con.execute("commit")


@contextmanager
def opening(path: Path, *, alone: bool = False) -> Iterator[None]:
    """A moment in which a warehouse file is opened or, `alone`, exchanged for another.

    DuckDB opens a file first and locks it then: without this, whoever waits for the warehouse might come to lock the file
    that was taken away in between, and what it writes there would be gone.
    """
    handle = None
    with suppress(OSError):  # a file system without locks on folders
        handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _holder(message: str) -> str:
    """Who holds the lock, from DuckDB's message."""
    found = re.search(r"PID (\d+)", message)
    if not found:
        return "another process"
    return process_name(int(found.group(1)))


def process_name(pid: int) -> str:
    """A process as a log line names it: its number and, where it can be seen, its command."""
    try:
        import psutil

        command = " ".join(" ".join(psutil.Process(pid).cmdline()).split())[:120]
    except Exception:  # the process may be gone or another user's: the number alone must do
        return f"process {pid}"
    return f"process {pid} ({command})"
