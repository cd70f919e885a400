"""The shop's daily exports as files: which record stands in which drop, faults put in, written out.

A feed is one raw table. Its records are numbered in the order of delivery; what they say is looked up in the
simulated shop only when their file is written, so that a large shop never stands in memory as text. What the
feeds are is said in `feeds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecommerce_platform.simulation.faults import CLEAN, FAULTS, is_kind

if TYPE_CHECKING:
    import polars as pl

    from ecommerce_platform.simulation.formats import Encoder

_RECORDS_AT_ONCE = 250_000


@dataclass(frozen=True)
class Feed:
    """One raw table's records in the order of delivery."""

    table: str
    #: The canonical entity that it fills.
    entity: str
    file_name: str
    #: Day of delivery of each record, ascending; the records of one day make one file.
    day: np.ndarray
    #: Number of the thing each record is about (record, order, line …), from 0.
    key: np.ndarray
    #: Fault code of each record (see `faults`).
    fault: np.ndarray
    #: How many things there are.
    keys: int
    #: The records at the given positions as columns of text, in the order given.
    rows: Callable[[np.ndarray], pl.DataFrame]
    #: How rows become files.
    encode: Encoder

    @property
    def files(self) -> int:
        """How many files the feed makes."""
        return len(_starts(self.day))


def write_feeds(
    raw: Path, start: date, feeds: list[Feed], threads: int, progress: Callable[[str, int, int], None]
) -> None:
    """Writes every feed's files below `raw`, one folder per day.

    Files are written by a few threads while the next rows are made; which thread writes what changes no byte.
    """
    total, done = sum(len(feed.day) for feed in feeds), 0
    with ThreadPoolExecutor(threads) as pool:
        pending: list[Future[None]] = []
        for feed in feeds:
            for begin, end in _chunks(feed.day):
                files = _files(raw, start, feed, begin, end)
                # One lot of rows waits at most, or a slow disk would fill the memory.
                for write in pending:
                    write.result()
                pending = [pool.submit(_write, files[i::threads]) for i in range(threads)]
                done += end - begin
                progress("drops", done, total)
        for write in pending:
            write.result()


def drop_folder(raw: Path, start: date, day: int) -> Path:
    """Folder of the drop of a day counted from `start`."""
    return raw / (start + timedelta(days=day)).isoformat()


def _chunks(day: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of whole days with about `_RECORDS_AT_ONCE` records each, as begin and end."""
    begin = 0
    while begin < len(day):
        end = min(begin + _RECORDS_AT_ONCE, len(day))
        end = int(np.searchsorted(day, day[end - 1], side="right"))
        yield begin, end
        begin = end


def _starts(day: np.ndarray) -> np.ndarray:
    """Positions at which another day begins; `day` ascends."""
    return np.flatnonzero(np.diff(day, prepend=-1))


_File = tuple[Path, Callable[[], bytes]]


def _files(raw: Path, start: date, feed: Feed, begin: int, end: int) -> list[_File]:
    """The files of the records begin … end-1, their faults put in; duplicates stand behind their original."""
    position = np.arange(begin, end)
    position = np.repeat(position, 1 + is_kind(feed.table, feed.fault[begin:end], "duplicate"))
    day, fault = feed.day[position], feed.fault[position]
    frame = _with_faults(feed.table, feed.rows(position), fault)
    broken = np.flatnonzero(is_kind(feed.table, fault, "unparsable"))
    begins = _starts(day)
    contents = feed.encode(frame, broken, np.append(begins, len(day)))
    paths = [drop_folder(raw, start, one) / feed.file_name for one in day[begins].tolist()]
    return list(zip(paths, contents, strict=True))


def _write(files: list[_File]) -> None:
    for path, content in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content())


def _with_faults(table: str, frame: pl.DataFrame, fault: np.ndarray) -> pl.DataFrame:
    """The rows with the values of their rejecting faults."""
    import polars as pl

    if not (fault != CLEAN).any():
        return frame
    codes = pl.Series(fault)
    for code, kind in enumerate(FAULTS[table], start=1):
        if kind.column:
            dtype = frame.schema[kind.column]
            wrong = pl.lit(kind.value, dtype=dtype)
            column = pl.when(codes == code).then(wrong).otherwise(pl.col(kind.column))
            frame = frame.with_columns(column.alias(kind.column))
        elif kind.kind == "unparsable" and "text" in frame.columns:
            # A line that is broken on purpose is one line: its multi-line text goes.
            frame = frame.with_columns(pl.when(codes == code).then(None).otherwise(pl.col("text")).alias("text"))
    return frame


def by_day(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Several (day, key) runs as one, by day; within a day in the order given."""
    day = np.concatenate([part[0] for part in parts])
    key = np.concatenate([part[1] for part in parts])
    order = np.argsort(day, kind="stable")
    return day[order], key[order]
