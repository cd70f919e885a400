"""The warehouse file: who may open it, how long, and with which limits.

DuckDB locks its file per process. So a connection is held only while SQL runs, whoever finds the file locked
waits and says for whom, and a warehouse that belongs to another source is refused. How results become tables
is in `write.py`; nothing here knows a table.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.errors import PassingError, SettingsError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MACROS = Path(__file__).with_name("macros.sql")
#: Seconds between attempts while another process holds the file: short at first, never busy.
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
#: Seconds between two log lines about the same wait.
_REPEAT_LOG = 30.0
#: Seconds between two looks at whether another process waits for a file that is kept open.
_LOOK = 0.1
#: What a warehouse keeps in memory that lets go of it.
_LEAST_MEMORY = "64MB"

_log = logging.getLogger(__name__)


@cache
def macros() -> str:
    """The conversion macros, read once per process: those in force are those that digests speak of."""
    return MACROS.read_text(encoding="utf-8")


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
    def connect(self, log: logging.Logger | Any = _log, patience: float = float("inf")) -> Iterator[DuckDBPyConnection]:
        """A connection, held until the block ends and closed whatever happens in it.

        Waits while another process has the file open; says so in `log`, naming that process.

        Args:
            log: told of long waits.
            patience: seconds after which it is no longer waited.

        Raises:
            PassingError: another process has had the file open for longer than that.
            SettingsError: the file holds another source's data, or is no warehouse.
        """
        temp = self.config.get("temp_directory")
        for folder in (self.path.parent, *([Path(temp)] if temp else [])):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise
                raise _no_rights("nothing may be written there", folder) from None
        kept = _kept.get(self.path)
        if kept is not None:
            with kept.cursor(lambda: self._open(log, patience)) as con:
                yield con
            return
        con = self._open(log, patience)
        try:
            yield con
        finally:
            con.close()

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """A block in which this process keeps the file open between two uses, unless another process waits for it: to open
        and to close it takes longer than a small table does.

        Not to be entered twice at a time in a process.
        """
        kept = _kept[self.path] = _Kept(self.path)
        try:
            yield
        finally:
            del _kept[self.path]
            kept.end()

    def _open(self, log: Any, patience: float) -> DuckDBPyConnection:
        con = self._open_waiting(log, patience)
        try:
            self._prepare(con)
        except BaseException:
            con.close()
            raise
        if "memory_limit" in self.config:
            _limits[str(self.path)] = str(self.config["memory_limit"])
        return con

    def _open_waiting(self, log: Any, patience: float) -> DuckDBPyConnection:
        with ExitStack() as asked:
            return self._open_when_free(log, patience, asked)

    def _open_when_free(self, log: Any, patience: float, asked: ExitStack) -> DuckDBPyConnection:
        import duckdb

        started, wait, logged = time.monotonic(), _FIRST_WAIT, -_REPEAT_LOG
        while True:
            try:
                with opening(self.path):
                    return duckdb.connect(str(self.path), config=self.config)
            except duckdb.IOException as error:
                if "lock" not in str(error).lower():
                    if (refused := _refused(self.path)) is not None:
                        raise refused from None
                    raise SettingsError(
                        f"the warehouse cannot be opened: {error}",
                        where=self.path,
                        fix="move it away and run `ecommerce build`: the drops under raw/ give every table back "
                        "(docs/runbook.md, The warehouse is damaged)",
                    ) from None
                waited = time.monotonic() - started
                if waited >= patience:
                    raise PassingError(
                        f"{_holder(str(error))} has the warehouse open", where=self.path, fix="try again in a while"
                    ) from None
                if waited - logged >= _REPEAT_LOG:
                    log.info(f"waiting for {self.path}: {_holder(str(error))} has it open ({waited:.0f} s so far)")
                    if logged < 0:
                        asked.enter_context(_asking(self.path))
                    logged = waited
                time.sleep(wait)
                wait = min(wait * 1.5, _LONGEST_WAIT)

    def _prepare(self, con: DuckDBPyConnection) -> None:
        """Schemas, conversion macros and the owner's name, written once per version of them."""
        from hashlib import sha256

        version = sha256(macros().encode()).hexdigest()[:16]
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
        con.execute(macros())
        con.execute("create or replace table main.warehouse_info (source varchar, macros_version varchar)")
        con.execute("insert into main.warehouse_info values (?, ?)", [self.source, version])
        con.execute("commit")


def let_go(con: DuckDBPyConnection) -> None:
    """Gives back the memory in which a warehouse keeps what it has read, for those who go on outside of it with much of
    their own. What is read again comes from the file."""
    import duckdb

    paths = con.execute("select path from duckdb_databases() where path is not null").fetchall()
    # DuckDB itself tells its limit rounded down: told again and again, it would shrink.
    limit = next((_limits[path] for (path,) in paths if path in _limits), None)
    if limit is None:
        return
    with suppress(duckdb.OutOfMemoryException):  # what is in use stays
        con.execute(f"set memory_limit = '{_LEAST_MEMORY}'")
    con.execute(f"set memory_limit = '{limit}'")


class _Kept:
    """A file that stays open between two uses, while nobody else waits for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.con: DuckDBPyConnection | None = None
        self.uses = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.watch = threading.Thread(target=self._watch, name=f"keeps {path.name}", daemon=True)
        self.watch.start()

    @contextmanager
    def cursor(self, open: Callable[[], DuckDBPyConnection]) -> Iterator[DuckDBPyConnection]:
        with self.lock:
            if self.con is None:
                self.con = open()
            con = self.con.cursor()
            self.uses += 1
        try:
            yield con
        finally:
            con.close()
            with self.lock:
                self.uses -= 1
            self._yield_to_others()

    def end(self) -> None:
        self.ended.set()
        self.watch.join()
        with self.lock:
            self._close()

    def _watch(self) -> None:
        while not self.ended.wait(_LOOK):
            self._yield_to_others()

    def _yield_to_others(self) -> None:
        """Closes the file until one of those who wait for it has it, for a second at most."""
        with self.lock:
            if self.uses or self.con is None or not _awaited(self.path):
                return
            self._close()
            until = time.monotonic() + 1
            while _awaited(self.path) and time.monotonic() < until:
                time.sleep(_FIRST_WAIT)

    def _close(self) -> None:
        if self.con is not None:
            self.con.close()
            self.con = None


#: Files that this process has opened, with their memory limits.
_limits: dict[str, str] = {}
#: Files that this process keeps open between two uses.
_kept: dict[Path, _Kept] = {}


def _queue(path: Path) -> Path:
    return path.with_name(f"{path.name}.waiting")


@contextmanager
def _asking(path: Path) -> Iterator[None]:
    """A block in which others can see that this process waits for the file: it holds a lock, which ends with the process."""
    handle = None
    with suppress(OSError):  # a file system without locks: then nobody keeps the file open for longer than a use
        handle = os.open(_queue(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _awaited(path: Path) -> bool:
    """Whether a process waits for the file; also where that cannot be known."""
    try:
        handle = os.open(_queue(path), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


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


def _refused(path: Path) -> SettingsError | None:
    """What to say when the warehouse cannot be opened because nothing may be written; None when that is not why."""
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return _no_rights("the warehouse may not be read and written", path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return _no_rights("nothing may be written beside the warehouse", path.parent)
    return None


def _no_rights(what: str, place: Path) -> SettingsError:
    return SettingsError(
        f"{what} by this user; nothing is damaged",
        where=place,
        fix="give this user the right to write there (chown, chmod u+rwX), mount it for writing, or set ECOMMERCE_DATA_DIR to "
        "another folder",
    )


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
