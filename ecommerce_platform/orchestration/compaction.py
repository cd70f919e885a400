"""Making Dagster's history small again: one old run at a time, and once what earlier versions have left behind.

What stays of a run that is forgotten is what the pages are made of: of every day of a table one lean materialization, of
a table without days the newest, of every check the last verdict. Which runs are old is in `retention.py`.

This goes past Dagster's storage classes, into its tables; `test_compaction.py` and `test_retention.py` look at the
results through Dagster. Forgetting works on SQLite and PostgreSQL; files and what earlier versions left are SQLite's.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetMaterialization, DagsterEventType, DagsterInstance
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import deserialize_value, serialize_value
from sqlalchemy import and_, delete, func, or_, select, update

from ecommerce_platform.orchestration.bookkeeping import lean, verdict_about

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

_log = logging.getLogger(__name__)

_EVENTS, _CHECKS, _TAGS = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, AssetEventTagsTable.c
_MADE = DagsterEventType.ASSET_MATERIALIZATION.value
_PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
_CHECK_PLANNED = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value
_ASKED = ("SUCCEEDED", "FAILED")
#: As many values in one statement as every database takes.
_CHUNK = 500
#: `pragma user_version` of an index that earlier versions have left nothing in. Below zero: made lean up to this event.
COMPACT = 1
#: Free pages above which a database is written anew: this share of it, and so many bytes.
_FREE_SHARE, _FREE_BYTES = 0.1, 1 << 20
#: Seconds to wait for another process that writes.
_WAIT = 60


# -- a run that is forgotten -------------------------------------------------------------------------------------------


def forget_run(instance: DagsterInstance, run_id: str) -> None:
    """Removes a run with its log, but not what is newest of tables, days and checks.

    A kill in between leaves a run of which less is known; the next call goes on.
    """
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        _keep_what_is_newest(connection, run_id)
    if storage.is_run_sharded:
        for end in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + end).unlink(missing_ok=True)
    instance.run_storage.delete_run(run_id)
    # Captured output lies in a folder per run.
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _keep_what_is_newest(connection: Connection, run_id: str) -> None:
    of_run = select(_EVENTS.asset_key, _EVENTS.partition).where(
        _EVENTS.run_id == run_id, _EVENTS.dagster_event_type == _MADE
    )
    made: dict[str, set[str | None]] = {}
    for asset, day in connection.execute(of_run.distinct()):
        made.setdefault(asset, set()).add(day)
    kept: set[int] = set()
    for asset, days in made.items():
        newest = _newest(connection, asset, days)
        _delete_older(connection, asset, newest)
        kept |= set(newest.values())
        of_asset = select(func.max(_EVENTS.id)).where(_EVENTS.asset_key == asset, _EVENTS.dagster_event_type == _MADE)
        last = connection.execute(of_asset).scalar_one()
        _make_lean(connection, [i for day, i in newest.items() if day is not None and i != last])
    rest = [i for (i,) in connection.execute(select(_EVENTS.id).where(_EVENTS.run_id == run_id)) if i not in kept]
    _delete_events(connection, rest)
    _keep_last_verdicts(connection, run_id)


def _newest(connection: Connection, asset: str, days: Collection[str | None]) -> dict[str | None, int]:
    """Day → id of its newest materialization; None is the table without days."""
    found: dict[str | None, int] = {}
    of_asset = and_(_EVENTS.asset_key == asset, _EVENTS.dagster_event_type == _MADE)
    for chunk in _chunks([day for day in days if day is not None]):
        query = select(_EVENTS.partition, func.max(_EVENTS.id)).where(of_asset, _EVENTS.partition.in_(chunk))
        found |= {row[0]: row[1] for row in connection.execute(query.group_by(_EVENTS.partition))}
    if None in days:
        found[None] = connection.execute(
            select(func.max(_EVENTS.id)).where(of_asset, _EVENTS.partition.is_(None))
        ).scalar_one()
    return found


def _delete_older(connection: Connection, asset: str, newest: dict[str | None, int]) -> None:
    """Deletes what the newest materializations have replaced, whichever run it was."""
    of_asset = and_(_EVENTS.asset_key == asset, _EVENTS.dagster_event_type == _MADE)
    older: list[int] = []
    for chunk in _chunks([day for day in newest if day is not None]):
        query = select(_EVENTS.id, _EVENTS.partition).where(of_asset, _EVENTS.partition.in_(chunk))
        older += [i for i, day in connection.execute(query) if i < newest[day]]
    if None in newest:
        query = select(_EVENTS.id, _EVENTS.partition).where(
            of_asset, _EVENTS.partition.is_(None), _EVENTS.id < newest[None]
        )
        older += [i for i, _ in connection.execute(query)]
    _delete_events(connection, older)


def _make_lean(connection: Connection, ids: Iterable[int]) -> None:
    for chunk in _chunks(list(ids)):
        rows = connection.execute(select(_EVENTS.id, _EVENTS.event).where(_EVENTS.id.in_(chunk))).all()
        for event_id, text in rows:
            connection.execute(
                update(SqlEventLogStorageTable).where(_EVENTS.id == event_id).values(event=lean_text(text))
            )
        connection.execute(delete(AssetEventTagsTable).where(_TAGS.event_id.in_(chunk)))


def lean_text(text: str) -> str:
    """A stored materialization as it is kept for the square of a day."""
    entry = deserialize_value(text, EventLogEntry)
    event = entry.get_dagster_event()
    data = event.step_materialization_data
    made: AssetMaterialization = lean(data.materialization)
    event = event._replace(
        event_specific_data=data._replace(materialization=made), logging_tags={}, pid=None, step_handle=None,
        node_handle=None, step_kind_value=None, step_key=entry.step_key,
    )  # fmt: skip
    return serialize_value(entry._replace(dagster_event=event, user_message=""))


def _keep_last_verdicts(connection: Connection, run_id: str) -> None:
    table, of_run = AssetCheckExecutionsTable, _CHECKS.run_id == run_id
    checks = connection.execute(select(_CHECKS.asset_key, _CHECKS.check_name).where(of_run).distinct()).all()
    for asset, check in checks:
        of_check = and_(_CHECKS.asset_key == asset, _CHECKS.check_name == check)
        last = select(func.max(_CHECKS.id)).where(of_check, _CHECKS.execution_status.in_(_ASKED))
        newest = connection.execute(last).scalar_one() or 0
        mine = select(_CHECKS.id).where(of_check, of_run)
        ids = [i for (i,) in connection.execute(mine)]
        replaced = and_(_CHECKS.id < newest, _CHECKS.id <= max(ids))
        connection.execute(delete(table).where(of_check, or_(replaced, and_(of_run, _CHECKS.id != newest))))


def _delete_events(connection: Connection, ids: Iterable[int]) -> None:
    for chunk in _chunks(list(ids)):
        connection.execute(delete(AssetEventTagsTable).where(_TAGS.event_id.in_(chunk)))
        connection.execute(delete(SqlEventLogStorageTable).where(_EVENTS.id.in_(chunk)))


def _chunks(values: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


# -- space -------------------------------------------------------------------------------------------------------------


def give_back_space(home: Path) -> None:
    """Writes those of Dagster's SQLite databases anew that have much room in them. One that is in use keeps it for now."""
    for path in (home / "history/runs.db", home / "history/runs/index.db", home / "schedules/schedules.db"):
        if path.exists():
            with closing(_open(path)) as con, contextlib.suppress(sqlite3.OperationalError):
                size, pages, free = (
                    con.execute(f"pragma {name}").fetchone()[0]
                    for name in ("page_size", "page_count", "freelist_count")
                )
                if free > _FREE_SHARE * pages and free * size > _FREE_BYTES:
                    _write_anew(con)


def _write_anew(con: sqlite3.Connection) -> None:
    con.execute("vacuum")
    con.execute("pragma wal_checkpoint(truncate)").fetchall()


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_WAIT, isolation_level=None)


# -- what earlier versions have left -----------------------------------------------------------------------------------


def compact(runs: Path) -> None:
    """Makes the event log below `runs` small that an earlier version has written; does nothing the next time.

    Squares, verdicts and the newest text of every table stay. Each step is a transaction that finds out by itself what
    is left to do, so that a kill costs nothing but time. A second process waits for the first.
    """
    index = runs / "index.db"
    if not index.exists() or _version(index) == COMPACT:
        return
    with _alone(runs), closing(_open(index)) as con:
        if _version(index) == COMPACT:
            return
        if con.execute("select 1 from sqlite_master where name = 'event_logs'").fetchone() is None:
            return
        if con.execute("select 1 from event_logs limit 1").fetchone() is not None:
            _log.warning("making room in %s, once: an earlier version has written more than is read", runs)
            _compact_index(con, runs.parent / "runs.db")
            for shard in sorted(runs.glob("*.db")):
                if shard != index:
                    _compact_shard(shard)
            _write_anew(con)
        con.execute(f"pragma user_version = {COMPACT}")


def _version(path: Path) -> int:
    with closing(_open(path)) as con:
        return int(con.execute("pragma user_version").fetchone()[0])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".compacting").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _compact_index(con: sqlite3.Connection, runs: Path) -> None:
    open_runs, failed = _unfinished(runs)
    con.execute("create temp table stays (run_id text primary key, failed int)")
    con.executemany(
        "insert or ignore into stays values (?, ?)", [*((r, 0) for r in open_runs), *((r, 1) for r in failed)]
    )
    unfinished = "select run_id from stays where failed = 0"
    if con.execute("select 1 from sqlite_master where name = 'asset_check_executions'").fetchone():
        _verdicts_stand(con)
        con.execute(
            f"delete from asset_check_executions where execution_status = 'PLANNED' and run_id not in ({unfinished})"
        )
    con.execute(
        f"delete from event_logs where dagster_event_type = '{_CHECK_PLANNED}' and run_id not in ({unfinished})"
    )
    con.execute(
        f"delete from event_logs where dagster_event_type = '{_PLANNED}' and partition is not null "
        "and run_id not in (select run_id from stays)"
    )
    newest = (
        f"select max(id) from event_logs where dagster_event_type = '{_MADE}' and partition is not null "
        "group by asset_key, partition"
    )
    con.execute(
        f"delete from event_logs where dagster_event_type = '{_MADE}' and partition is not null and id not in ({newest})"
    )
    con.execute("delete from asset_event_tags where event_id not in (select id from event_logs)")
    _make_days_lean(con)


def _verdicts_stand(con: sqlite3.Connection) -> None:
    """Says of checks that the newest run has planned and not asked that their last verdict is about what it made."""
    newest = f"select max(id) from event_logs where dagster_event_type = '{_MADE}' group by asset_key"
    asked = (
        f"select max(id) from asset_check_executions where execution_status in {_ASKED} group by asset_key, check_name"
    )
    rows = con.execute(
        "select c.id, c.evaluation_event, m.id, m.run_id, m.event from asset_check_executions as c "
        f"join event_logs as m on m.asset_key = c.asset_key and m.id in ({newest}) "
        f"where c.id in ({asked}) and c.run_id <> m.run_id and exists (select 1 from asset_check_executions as p where "
        "p.asset_key = c.asset_key and p.check_name = c.check_name and p.run_id = m.run_id and p.execution_status = 'PLANNED')"
    ).fetchall()
    for check_id, text, event_id, run_id, event in rows:
        at = deserialize_value(event, EventLogEntry).timestamp
        moved = verdict_about(text, run_id=run_id, storage_id=event_id, timestamp=at)
        con.execute(
            "update asset_check_executions set evaluation_event = ?, materialization_event_storage_id = ? where id = ?",
            [moved, event_id, check_id],
        )


def _make_days_lean(con: sqlite3.Connection) -> None:
    last = f"select max(id) from event_logs where dagster_event_type = '{_MADE}' group by asset_key"
    done = -min(0, con.execute("pragma user_version").fetchone()[0])
    while rows := con.execute(
        f"select id, event from event_logs where dagster_event_type = '{_MADE}' and partition is not null and id > ? "
        f"and id not in ({last}) order by id limit 1000",
        [done],
    ).fetchall():
        done = rows[-1][0]
        con.execute("begin immediate")
        con.executemany("update event_logs set event = ? where id = ?", [(lean_text(text), i) for i, text in rows])
        con.executemany("delete from asset_event_tags where event_id = ?", [(i,) for i, _ in rows])
        con.execute(f"pragma user_version = {-done}")
        con.execute("commit")


def _compact_shard(path: Path) -> None:
    """A run's own log tells of the last of its days, and what was planned is in the index."""
    with closing(_open(path)) as con, contextlib.suppress(sqlite3.OperationalError):
        gone = con.execute(
            f"delete from event_logs where dagster_event_type = '{_CHECK_PLANNED}' or partition is not null and ("
            f"dagster_event_type = '{_PLANNED}' or dagster_event_type = '{_MADE}' and id not in (select max(id) "
            f"from event_logs where dagster_event_type = '{_MADE}' group by asset_key))"
        ).rowcount
        if gone or con.execute("pragma freelist_count").fetchone()[0]:
            _write_anew(con)


def _unfinished(runs: Path) -> tuple[list[str], list[str]]:
    """The runs that are not at their end, and those that have failed."""
    if not runs.exists():
        return [], []
    with closing(_open(runs)) as con:
        found = con.execute("select run_id, status from runs where status not in ('SUCCESS', 'CANCELED')").fetchall()
    return [r for r, status in found if status != "FAILURE"], [r for r, status in found if status == "FAILURE"]
