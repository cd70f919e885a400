"""Rows on their way into a file: batches of text, a Parquet file written batch by batch, and what rows are told apart by.

Nothing here holds more than a few batches. `ledger` says what a file tells of itself (its footer), `extract`
where it goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.disk import sync
from ecommerce_platform.ingestion.extraction.database import BATCH_BYTES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow import RecordBatch

#: Most rows in a batch of a driver that gives rows one by one, and in one fetch from it.
_BATCH_ROWS, _FETCH_ROWS = 100_000, 10_000

Texts = Sequence[str | None]


def text_batches(
    names: Sequence[str],
    fetch: Callable[[int], Sequence[Sequence[Any]]],
    text: Callable[[Any], str | None],
    special: Mapping[int, Callable[[Texts], Texts]] | None = None,
) -> Iterator[RecordBatch]:
    """Rows from a driver as record batches of text.

    Args:
        names: the columns' names.
        fetch: gives the next rows, at most so many; none at the end.
        text: turns a value into text.
        special: positions of columns whose texts are turned into others, and how.
    """
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in names])
    waiting: list[RecordBatch] = []
    rows, size, next_rows = 0, 0, 256
    while found := fetch(next_rows):
        columns: list[Texts] = [[text(value) for value in column] for column in zip(*found, strict=True)]
        for number, convert in (special or {}).items():
            columns[number] = convert(columns[number])
        batch = pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema)
        # Wide rows come in smaller lots, so that a lot never holds much more than a batch may.
        fit = BATCH_BYTES * len(found) // max(1, batch.nbytes)
        next_rows = max(1, min(_FETCH_ROWS, 4 * next_rows, fit))
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _BATCH_ROWS or size >= BATCH_BYTES:
            yield pa.concat_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_batches(waiting)


def ahead(batches: Generator[RecordBatch]) -> Iterator[RecordBatch]:
    """The same batches, the next one read while the last is at work."""
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(next, batches, None)
            while (batch := waiting.result()) is not None:
                waiting = pool.submit(next, batches, None)
                yield batch
    finally:
        batches.close()


class Rows:
    """What rows are told apart by, worked out by DuckDB: of a whole table one digest, of single rows a fingerprint each.

    Args:
        con: an in-memory database of its own.
        names: the columns; their order makes no difference.
    """

    def __init__(self, con: DuckDBPyConnection, names: Sequence[str]) -> None:
        self.con, self.names = con, sorted(names)
        # In DuckDB names that differ only in case are one.
        self.plain = [f"c{number}" for number in range(len(names))]

    @staticmethod
    def fingerprint(values: Sequence[str]) -> str:
        """SQL: 128 bits of a row. Lengths are part of what is hashed, so that values cannot run into each other."""
        return "md5_number(concat(" + ", ".join(f"coalesce(length({v}) || ':' || {v}, '-')" for v in values) + "))"

    def digest(self, batch: RecordBatch) -> tuple[int, int]:
        """Number and sum of hashes of a batch's rows: the same in whatever order they come.

        Hashed twice, because one hash is a plain combination of those of the values: two rows that exchange a value would
        often add up to the same.
        """
        self._give(batch)
        ((rows, total),) = self.con.execute(
            f"select count(*), coalesce(sum(hash(hash({', '.join(self.plain)}))), 0) from batch"
        ).fetchall()
        return int(rows), int(total)

    def without_seen(self, batch: RecordBatch) -> RecordBatch:
        """A batch without the rows whose fingerprints are in the table `seen`."""
        import pyarrow as pa

        self._give(batch)
        found = self.con.execute(
            f"select n from (select {self.fingerprint(self.plain)} as h, n from batch) "
            "where h not in (select h from seen) order by n"
        ).fetchnumpy()["n"]
        return batch if len(found) == batch.num_rows else batch.take(pa.array(found))

    def _give(self, batch: RecordBatch) -> None:
        import numpy as np
        import pyarrow as pa

        table = pa.Table.from_batches([batch]).select(self.names).rename_columns(self.plain)
        self.con.register("batch", table.append_column("n", pa.array(np.arange(batch.num_rows))))


class StagedFile:
    """A Parquet file that is being written, a row group per batch."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        self.path, self.rows = path, 0
        schema = pa.schema([(name, pa.string()) for name in names])
        # Dictionaries would cost as much time as all the rest of writing, and zstd finds repetition itself.
        self.writer = ParquetWriter(path, schema, compression="zstd", use_dictionary=False)

    def write(self, batch: RecordBatch) -> None:
        """Adds rows."""
        if batch.num_rows:
            self.writer.write_batch(batch)
            self.rows += batch.num_rows

    def finish(self, key: str, footer: Mapping[str, Any]) -> int:
        """Writes the footer with what the file says of itself, and forces it to disk; its size in bytes."""
        self.writer.add_key_value_metadata({key: json.dumps(footer, separators=(",", ":"))})
        self.writer.close()
        sync(self.path)
        return self.path.stat().st_size

    def discard(self) -> None:
        """Removes the file."""
        with suppress(OSError):  # a full disk has no room for the end of the file either
            self.writer.close()
        self.path.unlink(missing_ok=True)
