"""Questions on their way: a bounded queue, few at once, the same asked by many computed once, given up when nobody waits.

Here is no word of snapshots or metrics: a job is a key and a function that gets an event to stop at. What is asked is in
`reader.py`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from time import monotonic
from typing import Any

from ecommerce_platform.errors import BusyError, LimitError
from ecommerce_platform.serving.read.answer import Answer

#: Seconds between two looks at whether who asks is still there.
_LOOK = 0.1

#: What is read, the question, and how much of the answer.
Key = tuple[Any, ...]
#: Works out an answer within so many seconds, unless the event says to stop.
Work = Callable[[float, Event], Answer]


@dataclass
class _Job:
    key: Key
    work: Work
    until: float
    future: Future[Answer] = field(default_factory=Future)
    stop: Event = field(default_factory=Event)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.future.set_running_or_notify_cancel()  # others wait for it too: who goes leaves, and cancels nothing


class Ticket:
    """One asker's claim on an answer; leave it, or take the answer."""

    def __init__(self, future: Future[Answer], leave: Callable[[], None]) -> None:
        self.future, self._leave, self._left = future, leave, False

    def leave(self) -> None:
        """The asker is gone: the query is stopped unless others wait for it, too."""
        if not self._left:
            self._left = True
            self._leave()

    def result(self, gone: Callable[[], bool] | None = None) -> Answer:
        """Waits for the answer.

        Args:
            gone: asked now and then whether whoever asked has gone.

        Raises:
            InputError: what `Work` raises, LimitError among it; or the asker is gone.
        """
        try:
            while gone and not self.future.done():
                if gone():
                    raise LimitError("who asked is gone")
                try:
                    return self.future.result(_LOOK)
                except TimeoutError:
                    if self.future.done():
                        raise
            return self.future.result()
        finally:
            self.leave()


class Jobs:
    """The queue of one process.

    Args:
        workers: how many queries run at once.
        waiting: how many may wait besides.
        per_user: how many of one user may be under way.
        cache_bytes: what answers are kept for whoever asks the same next, least recently used go first.
    """

    def __init__(self, *, workers: int, waiting: int, per_user: int, cache_bytes: int) -> None:
        self.workers, self.waiting, self.per_user, self.cache_bytes = workers, waiting, per_user, cache_bytes
        self._pools = {
            "own": ThreadPoolExecutor(workers, thread_name_prefix="read"),
            # Looks at single rows take milliseconds and do not wait behind figures.
            "points": ThreadPoolExecutor(2, thread_name_prefix="point"),
            # Queries that anybody wrote leave room for the others.
            "strangers": ThreadPoolExecutor(max(workers // 2, 1), thread_name_prefix="sql"),
        }
        self._lock = Lock()
        self._running: dict[Key, _Job] = {}
        self._queued = 0
        self._users: Counter[str] = Counter()
        self._cache: OrderedDict[Key, Answer] = OrderedDict()
        self._cached = 0
        self._closed = False
        #: Answers worked out and answers taken over, since the start.
        self.computed, self.shared = 0, 0

    def ask(self, key: Key, work: Work, *, seconds: float, user: str, pool: str = "own") -> Ticket:
        """Has the answer worked out, or joins who asked the same.

        Args:
            key: the same for the same question about the same rows.
            work: called in a thread of the pool.
            seconds: how long waiting and working may take together.
            user: who asks; counted where it is not empty.
            pool: `own`, `points` (single rows) or `strangers`.

        Raises:
            BusyError: the queue is full, or this user has enough under way.
            LimitError: it is closed.
        """
        with self._lock:
            if self._closed:
                raise _closed()
            if (known := self._cache.get(key)) is not None:
                self._cache.move_to_end(key)
                self.shared += 1
                return _done(known)
            if user and self._users[user] >= self.per_user:
                raise BusyError(f"{self.per_user} of your queries are under way already", own=True, retry_after=1)
            job = self._running.get(key)
            if job is None or job.stop.is_set():
                if self._queued >= self.workers + self.waiting:
                    raise BusyError(f"{self._queued} queries are under way or wait", own=False, retry_after=2)
                job = _Job(key, work, monotonic() + seconds)
                self._running[key] = job
                self._queued += 1
                self._pools[pool].submit(self._run, job)
            else:
                self.shared += 1
            job.waiting += 1
            self._users[user] += 1
        return Ticket(job.future, lambda: self._leave(job, user))

    def _leave(self, job: _Job, user: str) -> None:
        with self._lock:
            self._users[user] -= 1
            if self._users[user] <= 0:
                del self._users[user]
            job.waiting -= 1
            if job.waiting <= 0 and not job.future.done():
                job.stop.set()

    def _run(self, job: _Job) -> None:
        try:
            left = job.until - monotonic()
            if job.stop.is_set():
                raise LimitError("who asked is gone")
            if left <= 0:
                raise LimitError("the query waited for its turn until its time was up", fix="try again later")
            answer = job.work(left, job.stop)
        except BaseException as error:
            self._end(job, None)
            job.future.set_exception(error)
        else:
            self._end(job, answer)
            job.future.set_result(answer)

    def _end(self, job: _Job, answer: Answer | None) -> None:
        """Takes a job off the queue; its answer is there for the next who asks before it is gone from it."""
        with self._lock:
            self._queued -= 1
            if self._running.get(job.key) is job:
                del self._running[job.key]
            if answer is None:
                return
            self.computed += 1
            if answer.size <= self.cache_bytes // 8 and job.key not in self._cache:
                self._cache[job.key] = answer
                self._cached += answer.size
            while self._cached > self.cache_bytes:
                self._cached -= self._cache.popitem(last=False)[1].size

    def keep(self, wanted: Callable[[Key], bool]) -> None:
        """Drops the answers whose keys are not wanted any more."""
        with self._lock:
            for key in [key for key in self._cache if not wanted(key)]:
                self._cached -= self._cache.pop(key).size

    def newest(self) -> list[Key]:
        """The keys of the answers that are kept, those asked for last first."""
        with self._lock:
            return list(reversed(self._cache))

    @property
    def under_way(self) -> int:
        """Queries that run or wait."""
        return self._queued

    def close(self) -> None:
        """Stops what runs and what waits; nothing new comes."""
        with self._lock:
            self._closed = True
            for job in self._running.values():
                job.stop.set()
        for pool in self._pools.values():
            pool.shutdown(cancel_futures=True)
        with self._lock:
            left = list(self._running.values())
            self._running.clear()
        for job in left:  # they waited for their turn, and somebody waits for them
            job.future.set_exception(_closed())


def _closed() -> LimitError:
    return LimitError("this reader is closed")


def _done(answer: Answer) -> Ticket:
    future: Future[Answer] = Future()
    future.set_result(answer)
    return Ticket(future, lambda: None)
