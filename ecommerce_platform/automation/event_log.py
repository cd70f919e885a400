"""Dagster's SQLite event log, made cheap enough for many small steps and for backfills of years.

Dagster's own class opens and closes a database for every event and writes a batch of events one by one: a step that
works for 10 ms waited 60 ms for its bookkeeping, and a backfill of 730 days spent 15 to 18 ms on each asset and day.
Here a connection stays open per database, and a batch is one transaction (docs/decisions/0003). What is stored, and
how it is read, is Dagster's own code.

`dagster.yaml` names this class. It builds on a class that Dagster documents for `dagster.yaml` but keeps in a private
module; `test_event_log.py` fails when a release changes what is relied upon.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import Field, StringSource
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from sqlalchemy import func, select
from watchdog.observers import Observer

from ecommerce_platform.automation.instance import write_batches

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

#: Databases kept open at a time: a run has one of its own, and a server looks at many runs.
_OPEN = 8
_INDEX = "index"
#: The events that `_store_rows` knows how to mirror in the index; any other kind goes Dagster's own way.
_IN_BATCHES = {"ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED"}
#: Seconds that a write waits for another process that writes to the same database.
_WAIT = 60


class EventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps its databases open and stores a batch of events in one transaction.

    Commits are not synced to disk one by one: a killed process loses nothing, a machine that loses power may lose
    the last events, never data of the warehouse.
    """

    _obs: Any

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._lock = threading.RLock()
        #: Database → its engine, and which file it was when it was opened.
        self._engines: OrderedDict[str, tuple[Engine, tuple[int, int]]] = OrderedDict()
        self._in_batch: dict[str, Connection] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """`base_dir`, by default where Dagster keeps it: below DAGSTER_HOME."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> EventLog:
        """Called by Dagster with what `dagster.yaml` says, in every process: webserver and daemon plan runs, too."""
        write_batches()
        base_dir = config_value.get("base_dir") or str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs")
        return cls(base_dir, inst_data)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction on the database of one run."""
        return self._open(run_id or _INDEX)

    def index_connection(self) -> Any:
        """A transaction on the database over all runs."""
        return self._open(_INDEX)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has this table; asked before every event, so what is there is remembered."""
        if table_name not in self._tables:
            if not super().has_table(table_name):
                return False
            self._tables.add(table_name)
        return True

    def store_event_batch(self, events: Sequence[Any]) -> None:
        """Stores events in one transaction per database, with one statement for all rows.

        What Dagster keeps once per asset (its newest event) is written once, not for each day.
        """
        with self._lock, ExitStack() as stack:
            for shard in (_INDEX, *dict.fromkeys(event.run_id for event in events)):
                self._in_batch[shard] = stack.enter_context(self._open(shard))
            try:
                if all(event.is_dagster_event and event.dagster_event_type.value in _IN_BATCHES for event in events):
                    self._store_rows(events)
                else:
                    for event in events:
                        self.store_event(event)
            finally:
                self._in_batch.clear()

    def _store_rows(self, events: Sequence[Any]) -> None:
        rows: dict[str, list[dict[str, Any]]] = {}
        for event in events:
            rows.setdefault(event.run_id, []).append(self._event_to_row(event))
        index = self._in_batch[_INDEX]
        for run_id, of_run in rows.items():
            self._in_batch[run_id].execute(SqlEventLogStorageTable.insert(), of_run)
            index.execute(SqlEventLogStorageTable.insert(), of_run)
        events = sorted(events, key=lambda event: list(rows).index(event.run_id)) if len(rows) > 1 else events
        # The transaction is the only writer, so the ids of its rows follow each other.
        last = index.execute(select(func.max(SqlEventLogStorageTable.c.id))).scalar_one()
        numbered = list(zip(range(last - len(events) + 1, last + 1), events, strict=True))
        of_assets = [(i, e) for i, e in numbered if not e.dagster_event_type.value.startswith("ASSET_CHECK")]
        self.store_asset_event_tags([e for _, e in of_assets], [i for i, _ in of_assets])
        newest = {(e.dagster_event.asset_key, e.dagster_event_type): (i, e) for i, e in of_assets}
        for event_id, event in sorted(newest.values(), key=lambda numbered_event: numbered_event[0]):
            self.store_asset_event(event, event_id)
        for event_id, event in numbered:
            if event.dagster_event_type.value.startswith("ASSET_CHECK"):
                self.store_asset_check_event(event, event_id)

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Calls back with every new event of a run; the UI's live view of a run is made of these."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watchdog = _Watchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (watchdog, self._obs.schedule(watchdog, self._base_dir, recursive=True))

    def dispose(self) -> None:
        """Closes what is open."""
        with self._lock:
            while self._engines:
                self._engines.popitem()[1][0].dispose()
        super().dispose()

    @contextmanager
    def _open(self, shard: str) -> Iterator[Connection]:
        with self._lock:
            if shard in self._in_batch:
                yield self._in_batch[shard]
                return
            with self._engine(shard).connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import StaticPool

        path = self.path_for_shard(shard)
        opened = self._engines.get(shard)
        if opened is not None and opened[1] == _file(path):
            self._engines.move_to_end(shard)
            return opened[0]
        if opened is not None:
            # Somebody has deleted the file, or put another in its place: what is open is nobody's any more.
            self._engines.pop(shard)[0].dispose()
        if opened is not None or not os.path.exists(path):
            self._initialized_dbs.discard(shard)
            if shard == _INDEX:
                self._tables.clear()
        # The first time, Dagster's own code opens it: that creates the tables.
        with super().run_connection(shard):
            pass
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            connect_args={"timeout": _WAIT, "check_same_thread": False},
        )
        event.listen(engine, "connect", lambda connection, _: connection.execute("pragma synchronous = normal"))
        self._engines[shard] = (engine, _file(path))
        # The index is used by everything, and what a batch is being written to must not be closed under it.
        idle = [other for other in self._engines if other not in (shard, _INDEX, *self._in_batch)]
        for other in idle[: max(0, len(self._engines) - _OPEN)]:
            self._engines.pop(other)[0].dispose()
        return engine


class _Watchdog(SqliteEventLogStorageWatchdog):
    """Looks at the file that new events really go to.

    Dagster's own looks at the database, to which SQLite moves the events when the last connection is closed; here that
    is only once in a while. Until then they are in the file beside it.
    """

    def __init__(self, event_log: EventLog, run_id: str, callback: Any, cursor: str | None) -> None:
        super().__init__(event_log, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: Any) -> None:
        """Called by the observer of the folder."""
        self._process_log()


def _file(path: str) -> tuple[int, int]:
    """Which file a path leads to; zeros if to none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
