"""The process's reader: which snapshot is current, and what can be asked of it. How questions queue is in `jobs.py`.

A view is pinned to one snapshot for as long as it is open, so no page and no answer mixes two. When `current` moves, the
next view that notices has the new snapshot opened in the background and meanwhile reads the one before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, TypeVar

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.contracts.metric_sql import Query, compile_query, literal
from ecommerce_platform.contracts.metrics import Metrics, read_metrics
from ecommerce_platform.errors import InputError, PlatformError
from ecommerce_platform.reading.query import ask
from ecommerce_platform.reading.snapshots import current_snapshot, find_snapshot
from ecommerce_platform.serving.read.answer import Answer, size_of
from ecommerce_platform.serving.read.jobs import Jobs, Ticket
from ecommerce_platform.serving.read.opened import Opened, stamp
from ecommerce_platform.serving.read.summed import compile_summed
from ecommerce_platform.settings import Settings

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Earlier snapshots that stay open for "as of".
_EARLIER = 2
#: Seconds before a snapshot that could not be opened is tried again.
_AGAIN = 30.0
#: Seconds for which a new snapshot is asked what the one before was asked last, before it takes its place.
_AHEAD = 10.0
#: Rows fetched at once: so many may be one too large for memory before it is noticed.
_FETCHED = 256
_TABLE = re.compile(r"\b(?:silver|gold|ml)\.[a-z_]+")


@dataclass(frozen=True)
class Limits:
    """What all readers of a process may use together, and one of them alone."""

    memory_limit: str = "2GB"
    threads: int = 2
    #: Seconds that a question may wait and run.
    seconds: float = 60.0
    #: Queries that run at once, may wait besides, and may be under way of one user.
    workers: int = 4
    waiting: int = 128
    per_user: int = 64
    #: Rows and bytes of one answer; what is beyond is cut off.
    rows: int = 100_000
    answer_bytes: int = 64 * 1024**2
    #: Bytes of answers that are kept.
    cache_bytes: int = 128 * 1024**2
    #: Where DuckDB may spill; empty: nowhere.
    scratch: str = ""


class Reader:
    """Reads the published snapshots of one shop; one per process, shared by its threads.

    Args:
        published: the folder of snapshots.
        limits: what may be used.
        metrics: the metric definitions; default: those of the package.
    """

    def __init__(self, published: Path, limits: Limits = Limits(), metrics: Metrics | None = None) -> None:
        self.published, self.limits = published, limits
        self.metrics = metrics or read_metrics()
        self.jobs = Jobs(
            workers=limits.workers, waiting=limits.waiting, per_user=limits.per_user, cache_bytes=limits.cache_bytes
        )
        self.compiled = lru_cache(4096)(lambda query: compile_query(self.metrics, query))
        self._config = {
            "memory_limit": limits.memory_limit, "threads": limits.threads, "temp_directory": limits.scratch
        }  # fmt: skip
        self._lock, self._opening = Lock(), Lock()
        self._current: Opened | None = None
        self._earlier: dict[str, Opened] = {}
        self._failed: tuple[str, float] = ("", 0.0)
        self._closed = False

    @classmethod
    def of(cls, settings: Settings, **limits: Any) -> Reader:
        """The reader of an instance, within its settings; `limits` win over them."""
        given = {
            "memory_limit": settings.memory_limit, "threads": settings.threads, "seconds": settings.query_seconds,
            "scratch": str(settings.scratch / "read"), **limits,
        }  # fmt: skip
        return cls(settings.published, Limits(**given))

    @contextmanager
    def view(self, *, as_of: str | None = None, user: str = "") -> Iterator[View]:
        """One snapshot, the same for all that is asked until the block ends.

        Args:
            as_of: an earlier one: an id, its beginning or a time, as `find_snapshot` takes them.
            user: who asks; of one user only so many queries are under way at once.

        Raises:
            InputError: nothing is published yet, or there is no such snapshot.
        """
        opened = self._earlier_one(as_of) if as_of else self._current_one()
        try:
            yield View(self, opened, user)
        finally:
            opened.leave()

    def _current_one(self) -> Opened:
        """The current snapshot, entered; a newer one is opened in the background."""
        while not self._closed:
            found = self._current
            if found is None:
                self.refresh()
                continue
            if self._newest() not in (found.version, None, self._failed_name()) and not self._opening.locked():
                # No daemon: one that is still in DuckDB when the interpreter ends takes the process down with SIGABRT.
                Thread(target=self._refresh_quietly, name="open snapshot").start()
            if found.enter():
                return found
        raise InputError("this reader is closed")

    def _newest(self) -> str | None:
        """The version of the current snapshot; None while there is none."""
        with suppress(OSError):
            folder = self.published / "current"
            return f"{folder.readlink().name}-{stamp(folder)}"
        return None

    def _failed_name(self) -> str | None:
        name, at = self._failed
        return name if monotonic() - at < _AGAIN else None

    def _refresh_quietly(self) -> None:
        try:
            self.refresh()
        except PlatformError as error:  # who reads keeps reading the one before
            self._failed = (self._newest() or "", monotonic())
            _log.warning(f"the new snapshot is left aside: {error}")

    def refresh(self) -> None:
        """Opens the current snapshot if it isn't open; the one before is closed when its last reader is done.

        Raises:
            InputError: nothing is published yet, or it is damaged.
        """
        with self._opening:
            before, folder = self._current, current_snapshot(self.published)
            if self._closed or (before and before.version == f"{folder.name}-{stamp(folder)}"):
                return
            opened = Opened(folder, self._config)
            if before and before.id != opened.id:
                self._answer_ahead(opened)
            self._current = opened
            if before:
                self._retire(before)

    def _answer_ahead(self, opened: Opened) -> None:
        """Works out anew what was asked last, until the time for it is up, so that a publish is not felt."""
        limits, until = self.limits, monotonic() + _AHEAD
        for _, sql, most in self.jobs.newest():
            read, left = opened.read_by(sql), until - monotonic()
            if left <= 0 or self._closed:
                return
            with suppress(PlatformError):  # also of a question that this snapshot can't answer, or while all is busy
                work = partial(_fetch, opened, sql, most, limits.answer_bytes)
                self.jobs.ask((read, sql, most), work, seconds=left, user="").result()

    def _earlier_one(self, as_of: str) -> Opened:
        found = find_snapshot(self.published, as_of)
        current = self._current_one()
        if current.id == found.id:
            return current
        current.leave()
        with self._lock:
            opened = self._earlier.pop(found.id, None)
            if opened and opened.stamp != stamp(found.folder):
                self._retire(opened)
                opened = None
            opened = opened or Opened(found.folder, self._config)
            self._earlier[found.id] = opened
            opened.enter()
            while len(self._earlier) > _EARLIER:
                self._retire(self._earlier.pop(next(iter(self._earlier))))
        return opened

    def _retire(self, opened: Opened) -> None:
        """Closes it when its last reader is done; answers stay that an open snapshot gives, too.

        Of a snapshot that a person was taken out of, none stays that was read from what was rewritten.
        """
        opened.retire()
        held = [o for o in (self._current, *self._earlier.values()) if o and o is not opened]
        self.jobs.keep(lambda key: any(o.answers(key[0]) for o in held))

    def close(self) -> None:
        """Stops what runs and closes everything."""
        self._closed = True
        self.jobs.close()
        with self._opening:
            for opened in (self._current, *self._earlier.values()):
                if opened:
                    opened.retire()


class View:
    """One snapshot as one user reads it. `start_…` give a `Ticket` at once, the others wait for the answer."""

    def __init__(self, reader: Reader, opened: Opened, user: str) -> None:
        self.reader, self.user, self._opened = reader, user, opened
        self.id, self.published_at, self.manifest, self.folder = (
            opened.id,
            opened.published_at,
            opened.manifest,
            opened.folder,
        )
        #: Stands for what is in the snapshot, for ETags: `ecommerce forget` changes it.
        self.version = opened.version
        #: Table → its entry in the manifest: rows, columns (name → type), key, hashed, description.
        self.tables = opened.tables

    # -- asking ---------------------------------------------------------------------------------------------------

    def metric(self, query: Query, *, limit: int | None = None, gone: Callable[[], bool] | None = None) -> Answer:
        """Metrics by dimensions, filters and periods; columns as `compile_query` says.

        Args:
            query: what is asked.
            limit: rows at most.
            gone: asked now and then whether whoever asked is gone.

        Raises:
            MetricError: it has no meaning, or this snapshot lacks what it is made from.
            LimitError, BusyError: see the package.
        """
        return self.start_metric(query, limit=limit).result(gone)

    def start_metric(self, query: Query, *, limit: int | None = None) -> Ticket:
        """As `metric`."""
        return self.start(self.compiled(query), limit=limit)

    def compiled(self, query: Query) -> str:
        """The SELECT of a metric question, over sums that the snapshot holds where these give the same answer.

        Raises:
            MetricError: the query has no meaning, with the reason.
        """
        over_facts = self.reader.compiled(query)  # refuses what has no meaning
        return self.kept(
            ("compiled", query), lambda: compile_summed(self.reader.metrics, query, self.tables) or over_facts
        )

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What follows from the snapshot and the key alone, worked out once; shared, so nobody changes it."""
        return self._opened.kept(key, make)

    def select(self, sql: str, *, limit: int | None = None, gone: Callable[[], bool] | None = None) -> Answer:
        """A SELECT of our own code; values in it are written by `literal`."""
        return self.start(sql, limit=limit).result(gone)

    def sql(
        self, sql: str, *, limit: int, seconds: float | None = None, gone: Callable[[], bool] | None = None
    ) -> Answer:
        """One SELECT that anybody may have written: fewer of these at once, so that the others stay quick.

        Raises:
            InputError: it is no SELECT, does not run, or reaches for what is not in the snapshot.
            LimitError, BusyError: see the package.
        """
        return self.start(sql, limit=limit, seconds=seconds, pool="strangers").result(gone)

    def rows(
        self,
        table: str,
        *,
        columns: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> Answer:
        """Rows of a published table.

        Args:
            table: `schema.table`.
            columns: default: all.
            where: column → the value it must have (None: unknown), or several of which one.
            order: columns, `-column` for the greatest first; default: the table's key.
            limit: rows at most.
            offset: rows left out at the beginning.

        Raises:
            InputError: there is no such table or column.
            LimitError, BusyError: see the package.
        """
        pool = "points" if where and limit == 1 else "own"
        return self.start(self.rows_sql(table, columns, where, order, offset), limit=limit, pool=pool).result()

    def rows_sql(
        self,
        table: str,
        columns: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        offset: int = 0,
    ) -> str:
        """The SELECT of `rows`."""
        known = self.entry(table)["columns"]
        order = order or self.entry(table)["key"]
        for name in (*columns, *(where or ()), *(o.removeprefix("-") for o in order)):
            if name not in known:
                raise InputError(f"{table} has no column {name!r}", fix=f"there are {', '.join(known)}")
        schema, name = table.split(".")
        text = f"select {', '.join(map(quote, columns or known))} from {schema}.{quote(name)}"
        if conditions := [_condition(column, value) for column, value in (where or {}).items()]:
            text += f" where {' and '.join(conditions)}"
        if order:
            text += " order by " + ", ".join(
                f"{quote(o.removeprefix('-'))}{' desc' if o.startswith('-') else ''} nulls last" for o in order
            )
        return text + (f" offset {int(offset)}" if offset else "")

    def start(self, sql: str, *, limit: int | None = None, seconds: float | None = None, pool: str = "own") -> Ticket:
        """Has a SELECT run; identical ones run once, and again only when a table that they read has changed."""
        limits = self.reader.limits
        most = min(limits.rows if limit is None else limit, limits.rows)
        opened = self._opened
        opened.enter()  # the view holds it open, so it is
        read = opened.version if pool == "strangers" else opened.read_by(sql)

        work = partial(_fetch, opened, sql, most, limits.answer_bytes)
        try:
            ticket = self.reader.jobs.ask(
                (read, sql, most), work, seconds=seconds or limits.seconds, user=self.user, pool=pool
            )
        except BaseException:
            opened.leave()
            raise
        # The snapshot stays open until the query has ended, also when its asker has left.
        ticket.future.add_done_callback(lambda _: opened.leave())
        return ticket

    # -- what there is --------------------------------------------------------------------------------------------

    def has(self, *tables: str) -> bool:
        """Whether all of these tables are published."""
        return all(table in self.tables for table in tables)

    def filled(self, *tables: str) -> bool:
        """Whether all of these are published and hold rows."""
        return all(self.tables.get(table, {}).get("rows") for table in tables)

    def entry(self, table: str) -> dict[str, Any]:
        """The manifest's entry of a table. Raises an InputError where there is none."""
        if table not in self.tables:
            from difflib import get_close_matches

            close = get_close_matches(table, self.tables, 1)
            raise InputError(
                f"there is no table {table!r} in this snapshot",
                fix=f"did you mean {close[0]}?" if close else "`about.tables` lists them",
            )
        return self.tables[table]

    def metric_names(self) -> tuple[str, ...]:
        """The metrics whose facts this snapshot holds rows of."""
        metrics = self.reader.metrics
        return tuple(n for n in metrics.metrics if all(map(self._fact, _facts(metrics, n))))

    def dimension_names(self) -> tuple[str, ...]:
        """The dimensions whose tables this snapshot has."""
        found = self.reader.metrics.dimensions
        return tuple(n for n, d in found.items() if self._tables_of(d.join or "") <= self.tables.keys())

    def _fact(self, fact: str) -> bool:
        tables = re.findall(_TABLE, self.reader.metrics.facts[fact].rows)
        return self.has(*tables) and self.filled(tables[0])

    @staticmethod
    def _tables_of(text: str) -> set[str]:
        return set(re.findall(_TABLE, text))

    def rows_of_about(self, name: str) -> list[dict[str, Any]]:
        """What the snapshot tells of its tables: the rows of `about.<name>` (see `open_snapshot`)."""
        return self.select(f"select * from about.{name} order by all").records()

    def freshness(self) -> dict[str, Any]:
        """When the snapshot was published, its newest day of load, the tables that lagged, and its age in hours."""
        loads = self.manifest.get("loads", {}).values()
        newest = max((load["newest"] for load in loads), default=None)
        return {
            "snapshot": self.id,
            "published_at": self.published_at,
            "newest_load": date.fromisoformat(newest) if newest else None,
            "lagging": sorted(self.manifest.get("lagging", {})),
            "age_hours": round((datetime.now(UTC) - self.published_at).total_seconds() / 3600, 2),
        }


def _facts(metrics: Metrics, name: str) -> set[str]:
    """The facts a metric is taken over where nothing cuts it finer."""
    if metrics.is_of_persons(name):
        return {"persons"}
    return {next(iter(metrics.measures[m].aggregate)) for m in metrics.needed(name)}


def _condition(column: str, value: Any) -> str:
    if value is None:
        return f"{quote(column)} is null"
    if isinstance(value, list | tuple | set | frozenset):
        values = [_literal(v) for v in value]
        return f"{quote(column)} in ({', '.join(values)})" if values else "false"
    return f"{quote(column)} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return literal(value)


def _fetch(opened: Opened, sql: str, limit: int, most_bytes: int, seconds: float, stop: Event) -> Answer:
    """Runs a SELECT on a cursor of its own and takes rows up to the limits."""
    rows: list[tuple[Any, ...]] = []
    taken = 0
    with closing(opened.cursor()) as con, ask(con, sql, seconds=round(seconds, 1), stop=stop) as found:
        while len(rows) <= limit and taken <= most_bytes:
            more = found.fetch(min(_FETCHED, limit + 1 - len(rows)))
            if not more:
                break
            rows += more
            taken += sum(map(size_of, more))
    if taken > most_bytes:
        return Answer(found.columns, found.types, tuple(rows[:-1][:limit]), True)
    return Answer(found.columns, found.types, tuple(rows[:limit]), len(rows) > limit)
