"""Dagster's SQLite event log, made cheap enough for many small steps and for backfills of years.

Dagster's own class opens and closes a database for every event and writes a batch of events one by one: a step that
works for 10 ms waited 60 ms for its bookkeeping, and a backfill of 730 days spent 15 to 18 ms on each asset and day.
Here a connection stays open per database, a batch is one transaction (docs/decisions/0003), and what a step says goes
together (docs/decisions/0020). What is stored is what Dagster's own code would store; what a step asks of the tables
before it, is asked in few statements.

`dagster.yaml` names this class. It builds on a class that Dagster documents for `dagster.yaml` but keeps in a private
module; `test_event_log.py` fails when a release changes what is relied upon.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetKey, AssetMaterialization, DagsterEventType, Field, IntMetadataValue, StringSource
from dagster._core.event_api import EventLogRecord
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.base import PlannedMaterializationInfo
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from dagster._serdes import deserialize_value
from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.sqlite import insert
from watchdog.observers import Observer

from ecommerce_platform.orchestration.instance import write_batches

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

#: Databases kept open at a time: a run has one of its own, and a server looks at many runs.
_OPEN = 8
_INDEX = "index"
#: What a step says one by one and nobody waits for; None is a line of its log. Anything else is stored at once.
_HELD = {
    None,
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_INPUT,
    DagsterEventType.STEP_OUTPUT,
    DagsterEventType.LOADED_INPUT,
    DagsterEventType.HANDLED_OUTPUT,
    DagsterEventType.ASSET_CHECK_EVALUATION,
}
_STEP_ENDS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
}
#: Seconds after which what is held is stored though its step goes on, and the most events that are held.
_SHOWN_AFTER, _HOLDS = 0.25, 500
#: Seconds without work after which the thread that looks after them ends.
_LINGERS = 5
#: The kinds of which the index has a copy.
_MIRRORED = {*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS}
#: Stand for a day and for numbers in what is serialised once.
_DAY, _MARK = "the day", 10**17 + 7
#: Seconds that a write waits for another process that writes to the same database.
_WAIT = 60
#: Days of a table that a step asks for in one statement; of more, Dagster's own query is as good.
_FEW = 100
_EVALUATION = DagsterEventType.ASSET_CHECK_EVALUATION

# Statements that every step needs, put together once.
_LAST = select(func.max(SqlEventLogStorageTable.c.id))
_KNOWN_CHECK = select(AssetCheckExecutionsTable.c.id).where(
    AssetCheckExecutionsTable.c.asset_key.in_(bindparam("assets", expanding=True)),
    AssetCheckExecutionsTable.c.run_id.in_(bindparam("runs", expanding=True)),
)
_OF_DAYS = (
    select(SqlEventLogStorageTable.c.partition, func.max(SqlEventLogStorageTable.c.id).label("id"))
    .where(
        SqlEventLogStorageTable.c.asset_key == bindparam("asset"),
        SqlEventLogStorageTable.c.dagster_event_type == bindparam("kind"),
        SqlEventLogStorageTable.c.partition.in_(bindparam("days", expanding=True)),
    )
    .group_by(SqlEventLogStorageTable.c.partition)
    .subquery()
)
_TAGS = (
    select(_OF_DAYS.c.partition, AssetEventTagsTable.c.key, AssetEventTagsTable.c.value, AssetKeyTable.c.asset_details)
    .join(AssetEventTagsTable, AssetEventTagsTable.c.event_id == _OF_DAYS.c.id)
    .outerjoin(AssetKeyTable, AssetKeyTable.c.asset_key == bindparam("asset"))
    .where(AssetEventTagsTable.c.key.in_(bindparam("tags", expanding=True)))
)


class EventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage` that keeps its databases open and stores a batch of events in one transaction.

    While a step runs, what it says is held until it says something that others wait for (that a table is made, that it
    is done), until somebody asks for it in this process, or for a quarter of a second. So others see it a moment
    later, in the same order.

    A process that is killed (`kill -9`) loses what its unfinished step has said in the last quarter of a second: lines
    of its log, outputs, verdicts of checks. It does not lose a materialization: one is stored, with all that was said
    before it, before the step goes on. Killed between the commit in the warehouse and that, a step has left its rows
    without a word of them, as with Dagster's own class; the warehouse knows what it has loaded, and the run counts as
    failed. Commits are not synced to disk one by one: a machine that loses power may lose the last events, never data
    of the warehouse.
    """

    _obs: Any

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._lock = threading.RLock()
        #: Database → its engine, and which file it was when it was opened.
        self._engines: OrderedDict[str, tuple[Engine, tuple[int, int]]] = OrderedDict()
        self._in_batch: dict[str, Connection] = {}
        #: What the index is known to have: tables, columns and finished migrations.
        self._known: set[tuple[str, str]] = set()
        #: Events with their rows, and in which databases they are missing.
        self._held: list[tuple[EventLogEntry, dict[str, Any]]] = []
        self._missing: set[str] = set()
        self._running: set[tuple[str, str | None]] = set()
        self._holds = threading.Event()
        self._keeper: threading.Thread | None = None
        self._process = os.getpid()
        self._alone = False
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        with self._creating(Path(base_dir)):
            super().__init__(base_dir, inst_data)
        flush = weakref.WeakMethod(self.flush)
        atexit.register(lambda: (found := flush()) and found())

    @classmethod
    def config_type(cls) -> Any:
        """`base_dir`, by default where Dagster keeps it: below DAGSTER_HOME."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> EventLog:
        """Called by Dagster with what `dagster.yaml` says, in every process: webserver and daemon plan runs, too."""
        from ecommerce_platform.orchestration.compaction import COMPACT, compact

        write_batches()
        base_dir = config_value.get("base_dir") or str(Path(os.environ["DAGSTER_HOME"]) / "history" / "runs")
        compact(Path(base_dir))
        new = not Path(base_dir, "index.db").exists()
        event_log = cls(base_dir, inst_data)
        if new:
            with event_log.index_connection() as connection:
                connection.exec_driver_sql(f"pragma user_version = {COMPACT}")
        return event_log

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction on the database of one run."""
        return self._open(_INDEX if run_id is None else run_id)

    def index_connection(self) -> Any:
        """A transaction on the database over all runs."""
        return self._open(_INDEX)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has this table; asked before every event, so what is there is remembered."""
        return self._knows("table", table_name, super().has_table)

    def has_secondary_index(self, name: str) -> bool:
        """Whether a migration of the index is done; asked twice by every look at a table."""
        return self._knows("migration", name, super().has_secondary_index)

    def has_asset_key_col(self, column_name: str) -> bool:
        """Whether the table of assets has this column; asked twice by every look at a table."""
        return self._knows("column", column_name, super().has_asset_key_col)

    def _knows(self, kind: str, name: str, ask: Callable[[str], bool]) -> bool:
        if (kind, name) not in self._known:
            if not ask(name):
                return False
            self._known.add((kind, name))
        return True

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event with those that are held, or holds it: see the class."""
        kind = event.dagster_event_type if event.is_dagster_event else None
        row = self._event_to_row(event)
        with self._lock:
            self._leave_to_parent()
            step = (event.run_id, event.step_key)
            if kind is DagsterEventType.STEP_START:
                self._running.add(step)
            self._held.append((event, row))
            self._missing |= {event.run_id, _INDEX} if kind in _MIRRORED else {event.run_id}
            if kind in _STEP_ENDS:
                self._running.discard(step)
            elif kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS:
                self._running = {of_run for of_run in self._running if of_run[0] != event.run_id}
            if kind not in _HELD or step not in self._running or len(self._held) >= _HOLDS:
                self.flush()
            else:
                self._holds.set()
                self._keep()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events in one transaction per database, with one statement for all rows.

        What Dagster keeps once per asset (its newest event) is written once, not for each day.
        """
        with self._lock:
            self.flush()
            self._store([(event, self._event_to_row(event)) for event in events])

    def flush(self) -> None:
        """Stores what is held. If that fails, one by one as Dagster's own class does; then raises the first error."""
        with self._lock:
            held = self._take()
            try:
                self._store(held)
            except Exception:
                failed = []
                for event, _ in held:
                    try:
                        super().store_event(event)
                    except Exception as error:
                        failed.append(error)
                if failed:
                    raise failed[0] from None

    def _take(self) -> list[tuple[EventLogEntry, dict[str, Any]]]:
        """What is held, which from now on is not."""
        self._leave_to_parent()
        held, self._held, self._missing = self._held, [], set()
        self._holds.clear()
        return held

    def _leave_to_parent(self) -> None:
        """A process that was forked off leaves to its parent what that holds; its threads it doesn't have."""
        if self._process != os.getpid():
            self._process, self._held, self._missing = os.getpid(), [], set()
            self._holds, self._keeper = threading.Event(), None

    def _keep(self) -> None:
        """Sees to it that what is held is stored in time, however long the step says nothing more."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=_store_in_time, args=(weakref.ref(self), self._holds), daemon=True)
            self._keeper.start()

    def _flush_or_keep(self) -> None:
        """Stores what is held; what cannot be stored stays, and fails in the step that said it."""
        with self._lock:
            missing, held = self._missing, self._take()
            try:
                self._store(held)
            except Exception:
                self._held, self._missing = held, missing
                self._holds.set()

    def _rest(self) -> None:
        with self._lock:
            self._keeper = None
            if self._held:
                self._keep()

    def _store(self, held: Sequence[tuple[EventLogEntry, dict[str, Any]]]) -> None:
        if not held:
            return
        mirrored = any(event.dagster_event_type in _MIRRORED for event, _ in held if event.is_dagster_event)
        shards = [_INDEX] * mirrored + [event.run_id for event, _ in held]
        with self._lock, ExitStack() as stack:
            # The index is left last, so it is committed last: it knows of nothing that the run's own log does not.
            for shard in dict.fromkeys(shards):
                self._in_batch[shard] = stack.enter_context(self._open(shard))
            try:
                self._store_rows(held)
            finally:
                self._in_batch.clear()

    def store_days(self, events: Sequence[EventLogEntry]) -> None:
        """Stores materializations of many days, in the index only: a run's own log tells of the last of its days."""
        with self._lock, self._open(_INDEX) as index:
            rows = list(self._rows_of_days(events))
            index.execute(SqlEventLogStorageTable.insert(), rows)
            last = index.execute(select(func.max(SqlEventLogStorageTable.c.id))).scalar_one()
            self._in_batch[_INDEX] = index
            try:
                self.store_asset_event(events[-1], last)
            finally:
                self._in_batch.clear()

    def _rows_of_days(self, events: Sequence[EventLogEntry]) -> Iterator[dict[str, Any]]:
        """Rows of materializations; what says the same of different days, but for numbers, is serialised once."""
        templates: dict[tuple[str, ...], tuple[EventLogEntry, dict[str, Any]]] = {}
        for event in events:
            made = _made(event)
            numbers = [v.value for v in made.metadata.values() if isinstance(v, IntMetadataValue)]
            day, names = made.partition, tuple(made.metadata)
            if day is None or None in numbers or len(numbers) != len(names):
                yield self._event_to_row(event)
                continue
            first, row = templates.get(names, (None, {}))
            if first is None or event != _on(first, day, made.metadata):
                marked = {name: IntMetadataValue(_MARK + n) for n, name in enumerate(names)}
                row = self._event_to_row(_on(event, _DAY, marked))
                templates[names] = event, row
            text = row["event"].replace(json.dumps(_DAY), json.dumps(day))
            for n, number in enumerate(numbers):
                text = text.replace(str(_MARK + n), str(number), 1)
            yield {**row, "event": text, "partition": day}

    def _store_rows(self, held: Sequence[tuple[EventLogEntry, dict[str, Any]]]) -> None:
        for run_id in dict.fromkeys(event.run_id for event, _ in held):
            rows = [row for event, row in held if event.run_id == run_id]
            self._in_batch[run_id].execute(SqlEventLogStorageTable.insert(), rows)
        mirrored = [(e, row) for e, row in held if e.is_dagster_event and e.dagster_event_type in _MIRRORED]
        if not mirrored:
            return
        index = self._in_batch[_INDEX]
        index.execute(SqlEventLogStorageTable.insert(), [row for _, row in mirrored])
        # The transaction is the only writer, so the ids of its rows follow each other.
        last = index.execute(_LAST).scalar_one()
        numbered = list(enumerate(mirrored, start=last - len(mirrored) + 1))
        of_assets = [(i, e) for i, (e, _) in numbered if e.dagster_event_type in ASSET_EVENTS]
        if of_assets:
            self.store_asset_event_tags([e for _, e in of_assets], [i for i, _ in of_assets])
        newest = {(e.get_dagster_event().asset_key, e.dagster_event_type): (i, e) for i, e in of_assets}
        for event_id, event in sorted(newest.values(), key=lambda numbered_event: numbered_event[0]):
            self.store_asset_event(event, event_id)
        self._store_checks([(i, e, row) for i, (e, row) in numbered if e.dagster_event_type in ASSET_CHECK_EVENTS])

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        """What is kept of the newest event of an asset; in one statement where Dagster's own tries and tries again."""
        key = event.get_dagster_event().asset_key
        values = self._get_asset_entry_values(event, event_id, self.has_asset_key_index_cols()) if key else {}
        if key and values:
            conn.execute(_newest(tuple(values)), {"asset_key": key.to_string(), **values})

    def _store_checks(self, events: Sequence[tuple[int, EventLogEntry, dict[str, Any]]]) -> None:
        """Verdicts that nobody has planned are new rows, written together; all others go Dagster's own way."""
        new = [
            self._check_row(*each) for each in events if each[1].dagster_event_type == _EVALUATION and each[1].run_id
        ]
        checks = {(row["run_id"], row["asset_key"], row["check_name"], row["partition"]) for row in new}
        asked = {"runs": list({row["run_id"] for row in new}), "assets": list({row["asset_key"] for row in new})}
        if not events:
            return
        if len(checks) == len(events) and self._in_batch[_INDEX].execute(_KNOWN_CHECK, asked).first() is None:
            self._in_batch[_INDEX].execute(AssetCheckExecutionsTable.insert(), new)
            return
        for event_id, event, _ in events:
            self.store_asset_check_event(event, event_id)

    def _check_row(self, event_id: int, event: EventLogEntry, row: Mapping[str, Any]) -> dict[str, Any]:
        verdict = event.get_dagster_event().asset_check_evaluation_data
        target = verdict.target_materialization_data
        return {
            "asset_key": verdict.asset_key.to_string(),
            "check_name": verdict.check_name,
            "run_id": event.run_id,
            "execution_status": "SUCCEEDED" if verdict.passed else "FAILED",
            "evaluation_event": row["event"],
            "evaluation_event_timestamp": row["timestamp"],
            "evaluation_event_storage_id": event_id,
            "materialization_event_storage_id": target.storage_id if target else None,
            "partition": verdict.partition,
        }

    def _get_latest_materialization_records(
        self, raw_asset_rows: Sequence[Mapping[str, Any]]
    ) -> Mapping[AssetKey, EventLogRecord | None]:
        """Dagster's own reads every text anew, and asks for the records of no asset in the end."""
        known: dict[AssetKey, EventLogRecord | None] = {}
        others = []
        for row in raw_asset_rows:
            record = _record(row["last_materialization"]) if row["last_materialization"] else None
            key = AssetKey.from_db_string(row["asset_key"])
            if key and isinstance(record, EventLogRecord) and not row["asset_details"]:
                known[key] = record
            else:
                others.append(row)
        return known | dict(super()._get_latest_materialization_records(others)) if others else known

    def get_latest_tags_by_partition(
        self,
        asset_key: AssetKey,
        event_type: DagsterEventType,
        tag_keys: Sequence[str],
        asset_partitions: Sequence[str] | None = None,
        before_cursor: int | None = None,
        after_cursor: int | None = None,
    ) -> Mapping[str, Mapping[str, str]]:
        """Day → tags of its newest event. Asked for each table that a step reads: a few days, in one statement."""
        asked = {"asset": asset_key.to_string(), "kind": event_type.value, "tags": list(tag_keys)}
        days = list(asset_partitions or ())
        known = (
            before_cursor is None
            and after_cursor is None
            and set(tag_keys) == self.get_asset_tags_to_index({*tag_keys})
        )
        if known and tag_keys and 0 < len(days) <= _FEW:
            with self.index_connection() as connection:
                rows = connection.execute(_TAGS, asked | {"days": days}).fetchall()
            found: dict[str, dict[str, str]] = {}
            for day, tag, value, _ in rows:
                found.setdefault(day, {})[tag] = value
            if not any(details for *_, details in rows):  # else it was once wiped: Dagster's own query knows of when
                return found
        return super().get_latest_tags_by_partition(
            asset_key, event_type, tag_keys, asset_partitions, before_cursor, after_cursor
        )

    @property
    def supports_partition_subset_in_asset_materialization_planned_events(self) -> bool:
        """One planned event per asset and run, which names the days together, instead of one per day."""
        return True

    def get_latest_asset_partition_materialization_attempts_without_materializations(
        self, asset_key: AssetKey, after_storage_id: int | None = None
    ) -> Mapping[str, tuple[str, int]]:
        """Day → run and event id of the newest plan to make it that no materialization has followed.

        What partitions are in progress or have failed is worked out from these. Dagster's own query looks at plans of
        single days; these are what older versions of the platform have left behind.
        """
        attempts = dict(
            super().get_latest_asset_partition_materialization_attempts_without_materializations(
                asset_key, after_storage_id
            )
        )
        made = self.get_latest_storage_id_by_partition(
            asset_key, DagsterEventType.ASSET_MATERIALIZATION, after_cursor=after_storage_id
        )
        for event_id, run_id, days in self._plans(asset_key, after_storage_id):
            for day in days:
                if event_id > max(made.get(day, 0), attempts.get(day, ("", 0))[1]):
                    attempts[day] = (run_id, event_id)
        return attempts

    def get_latest_planned_materialization_info(
        self, asset_key: AssetKey, partition: str | None = None
    ) -> PlannedMaterializationInfo | None:
        """The newest plan to make a table, or one day of it."""
        found = super().get_latest_planned_materialization_info(asset_key, partition)
        if partition is None:
            return found
        after = found.storage_id if found else None
        for event_id, run_id, days in self._plans(asset_key, after):
            if partition in days:
                return PlannedMaterializationInfo(storage_id=event_id, run_id=run_id)
        return found

    def _plans(self, asset_key: AssetKey, after: int | None) -> Iterator[tuple[int, str, Collection[str]]]:
        """Event id, run and days of the plans that name days together, the newest first."""
        table = SqlEventLogStorageTable.c
        query = select(table.id, table.run_id, table.event).where(
            table.asset_key == asset_key.to_string(),
            table.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
            table.partition.is_(None),
            table.id > (after or 0),
        )
        query = self._add_assets_wipe_filter_to_query(query, self._get_assets_details([asset_key]), [asset_key])
        with self.index_connection() as connection:
            rows = connection.execute(query.order_by(table.id.desc())).fetchall()
        for event_id, run_id, text in rows:
            event = deserialize_value(text, EventLogEntry).dagster_event
            subset = event.partitions_subset if event else None
            if subset is not None:
                yield event_id, run_id, set(subset.get_partition_keys())

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Calls back with every new event of a run; the UI's live view of a run is made of these."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watchdog = _Watchdog(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (watchdog, self._obs.schedule(watchdog, self._base_dir, recursive=True))

    def dispose(self) -> None:
        """Stores what is held and closes what is open."""
        with self._lock:
            self.flush()
            while self._engines:
                self._engines.popitem()[1][0].dispose()
        super().dispose()

    @contextmanager
    def _open(self, shard: str) -> Iterator[Connection]:
        with self._lock:
            if shard in self._in_batch:
                yield self._in_batch[shard]
                return
            if shard in self._missing:
                self.flush()
            with self._engine(shard).connect() as connection, connection.begin():
                yield connection

    @contextmanager
    def _creating(self, folder: Path) -> Iterator[None]:
        """One process at a time creates tables: two may stamp an index with two revisions, and none opens it again."""
        if self._alone:
            yield
            return
        with (folder / ".creating").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

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
                self._known.clear()
        # The first time, Dagster's own code opens it: that creates the tables.
        with self._creating(Path(self._base_dir)), super().run_connection(shard):
            pass
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=StaticPool,
            pool_reset_on_return=None,  # every connection here is a transaction that ends by itself
            connect_args={"timeout": _WAIT, "check_same_thread": False},
        )
        event.listen(engine, "connect", lambda connection, _: connection.execute("pragma synchronous = normal"))
        self._engines[shard] = (engine, _file(path))
        # The index is used by everything, and what a batch is being written to must not be closed under it.
        idle = [other for other in self._engines if other not in (shard, _INDEX, *self._in_batch)]
        for other in idle[: max(0, len(self._engines) - _OPEN)]:
            self._engines.pop(other)[0].dispose()
        return engine


@lru_cache(32)
def _newest(columns: tuple[str, ...]) -> Any:
    statement = insert(AssetKeyTable)
    return statement.on_conflict_do_update(
        index_elements=["asset_key"], set_={name: statement.excluded[name] for name in columns}
    )


@lru_cache(256)
def _record(text: str) -> Any:
    """The newest materialization of a table as it is stored with it; each step after it reads the same text."""
    return deserialize_value(text)


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


def _store_in_time(event_log: weakref.ref[EventLog], holds: threading.Event) -> None:
    while holds.wait(_LINGERS):
        time.sleep(_SHOWN_AFTER)
        found = event_log()
        if found is None:
            return
        found._flush_or_keep()
        del found
    found = event_log()
    if found is not None:
        found._rest()


def _made(event: EventLogEntry) -> AssetMaterialization:
    return event.get_dagster_event().step_materialization_data.materialization


def _on(event: EventLogEntry, day: str, metadata: Mapping[str, Any]) -> EventLogEntry:
    """The same materialization, of another day and with other numbers."""
    inner = event.get_dagster_event()
    data = inner.step_materialization_data
    made = data.materialization._replace(partition=day, metadata=metadata)
    return event._replace(dagster_event=inner._replace(event_specific_data=data._replace(materialization=made)))


def _file(path: str) -> tuple[int, int]:
    """Which file a path leads to; zeros if to none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_dev, found.st_ino
