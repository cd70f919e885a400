"""What earlier drops say was delivered: how far each table has been read, and what of it.

There is no file of state. Each extracted file says in its footer what it holds and how far the table had been read with it,
and only files of complete drops are looked at: an extract that was killed has never been. Who takes a drop away takes its
rows back, and the next extract reads them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ecommerce_platform.contracts.source import Extract
from ecommerce_platform.ingestion.landing import RawFile

#: Key of the footer's metadata.
KEY = "ecommerce_extract"
#: Another version than this in a footer means that everything is read anew.
_VERSION = 1
_NAME = re.compile(r"_\d{8}T\d{12}Z\.parquet")


@dataclass(frozen=True)
class Digest:
    """Number and sum of hashes of rows, in whatever order."""

    rows: int = 0
    sum: int = 0

    def __add__(self, other: tuple[int, int]) -> Digest:
        return Digest(self.rows + other[0], self.sum + other[1])

    def __str__(self) -> str:
        return f"{self.rows}:{self.sum:x}"


@dataclass(frozen=True)
class Entry:
    """What an extracted file says of itself.

    `full` files hold a whole table, and `digest` its rows. `delta` files hold what changed up to `mark`, on the watermark's
    clock; `unset` is the digest of all rows that had no watermark then. They form a chain that begins with a file that
    holds everything (`number` 1): a file that is missing in it shows.
    """

    raw: str
    kind: Literal["full", "delta"]
    table: str
    extracted_at: str
    #: What the digests were made with: that of another version may differ for the same rows.
    engine: str
    rows: int
    digest: str | None = None
    watermark: str | None = None
    id: tuple[str, ...] = ()
    since: str | None = None
    mark: str | None = None
    unset: str | None = None
    number: int = 1
    base: str | None = None

    def footer(self) -> dict[str, Any]:
        """As it is written."""
        return {"version": _VERSION, **{k: v for k, v in asdict(self).items() if v is not None}}

    @property
    def read_to(self) -> datetime | None:
        """The mark as a time."""
        return datetime.fromisoformat(self.mark) if self.mark else None

    @property
    def time(self) -> datetime:
        """When it was extracted, in UTC."""
        return datetime.fromisoformat(self.extracted_at)


@dataclass(frozen=True)
class Known:
    """The newest extract of a table that is in a complete drop: its entry, its file, its columns."""

    entry: Entry
    file: RawFile
    columns: tuple[str, ...]


def read_entry(path: Path) -> tuple[Entry, tuple[str, ...]] | None:
    """What a file says of itself, and its columns; None for one that no extract of this version has written."""
    import pyarrow as pa
    from pyarrow.parquet import read_metadata

    try:
        footer = read_metadata(path)
        found = json.loads((footer.metadata or {})[KEY.encode()])
        if found.pop("version") != _VERSION:
            return None
        found["id"] = tuple(found.get("id", ()))
        return Entry(**found), tuple(footer.schema.names)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None


def is_named_by_extract(raw: str, name: str) -> bool:
    """Whether a file of a raw table has a name that extracts give."""
    return name.startswith(raw) and bool(_NAME.fullmatch(name[len(raw) :]))


def newest(raw: str, files: Sequence[RawFile]) -> Known | None:
    """The newest extract among a table's files in all drops."""
    for file in reversed(files):
        if is_named_by_extract(raw, file.name) and (found := read_entry(file.path)):
            return Known(found[0], file, found[1])
    return None


def unbroken(known: Known, files: Sequence[RawFile]) -> bool:
    """Whether all files from the beginning of the chain to its newest are there."""
    chain = [f"{f.day}/{f.name}" for f in files if is_named_by_extract(known.entry.raw, f.name)]
    last = f"{known.file.day}/{known.file.name}"
    base = known.entry.base or last
    if base not in chain:
        return False
    return chain.index(last) - chain.index(base) + 1 == known.entry.number


def window(known: Known, files: Sequence[RawFile], since: datetime) -> list[Path]:
    """Files of the chain that may hold rows whose watermark is at least `since`, oldest first."""
    found: list[Path] = []
    own = [f for f in files if is_named_by_extract(known.entry.raw, f.name)]
    for file in reversed(own[: own.index(known.file) + 1]):
        read = read_entry(file.path)
        # Marks never go back along a chain: what is older than this file holds nothing newer.
        if read is None or read[0].read_to is None or read[0].read_to < since:
            break
        found.append(file.path)
        if read[0].number == 1:
            break
    return found[::-1]


def why_anew(known: Known, extract: Extract, columns: Sequence[str]) -> str | None:
    """Why a delta table has to be read from the beginning although there are extracts of it; None if it has not."""
    entry = known.entry
    if entry.kind != "delta":
        return "it was extracted as a whole before"
    if (entry.table, entry.watermark) != (extract.table, extract.watermark):
        return f"it was read from {entry.table} by {entry.watermark} before"
    if new := [name for name in columns if name not in known.columns]:
        return f"it has new columns: {', '.join(new)}"
    return None
