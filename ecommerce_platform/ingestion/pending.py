"""Which days of a raw table are to be loaded: those whose files are not the ones that bronze holds.

Name, size and time are a first look. Where only a time differs, the content decides: a landing zone that was copied or
restored holds the same bytes under other times, and nothing of it is loaded again. Such a time is remembered, so that
one look is enough. `bronze` loads the days, `watch` says when they are due.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import MODELS
from ecommerce_platform.contracts.contract import Contract, read_contract
from ecommerce_platform.contracts.source import Source, SourceFile
from ecommerce_platform.errors import PassingError
from ecommerce_platform.ingestion.landing import RawFile
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform.warehouse.transaction import transaction
from ecommerce_platform.warehouse.write import ensure_table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Held:
    """A file as bronze holds it.

    `time_ns` is the one that its bytes were last seen with. `sha256` is None for a file that was loaded before hashes
    were kept, until somebody has looked at it.
    """

    size: int
    time_ns: int
    read_as: str
    sha256: str | None
    rows: int


def pending_days(
    con: DuckDBPyConnection,
    source: Source,
    raw_table: str,
    files: Sequence[RawFile],
    days: Collection[date] | None = None,
) -> set[date]:
    """Days whose files are not those that were loaded: new, changed, removed, or to be read in another way now.

    A file of another time is read to see whether its bytes are another's, too; an object in a store, that has another
    etag, is not fetched for that. A file whose bytes change while its size and time stay looks the same: nobody reads
    all files each time.

    Args:
        con: the warehouse, outside a transaction; its tables may be missing. What is learnt about files is noted there.
        source: the source that `raw_table` belongs to.
        raw_table: the raw table.
        files: its files in all drops.
        days: the days to look at; None for all.
    """
    version = read_as(source.file, raw_table)
    if source.file.tables[raw_table].explode:
        return _exploded_days(con, source, raw_table, version, days)
    there: dict[date, dict[str, RawFile]] = {}
    for file in files:
        there.setdefault(file.day, {})[file.name] = file
    held = held_files(con, source, raw_table)
    pending: set[date] = set()
    unsure: list[RawFile] = []
    looked_at = there.keys() | held.keys() if days is None else set(days)
    for day in looked_at:
        now, before = there.get(day, {}), held.get(day, {})
        if _may_be_the_same(now, before, version):
            unsure += [file for name, file in now.items() if not _known(file, before[name])]
        else:
            pending.add(day)
    differing, hashes_of = _by_content(con, raw_table, [f for f in unsure if f.day not in pending], held)
    pending |= differing
    return pending | {day for day in looked_at & held.keys() if _doubled(day, held[day], hashes_of)}


def _by_content(
    con: DuckDBPyConnection, raw_table: str, unsure: Sequence[RawFile], held: Mapping[date, Mapping[str, Held]]
) -> tuple[set[date], dict[tuple[date, str], str]]:
    """Reads files that look as they did but for their time: the days of those with other bytes, and hashes that were not
    known. What is learnt is noted."""
    pending: set[date] = set()
    hashes = dict(zip(unsure, sha256_of([file if _can_be_read(file) else None for file in unsure]), strict=True))
    seen, learnt = [], []
    for file, found in hashes.items():
        before_it = held[file.day][file.name]
        if before_it.sha256 is None and before_it.time_ns == file.mtime_ns:
            learnt.append((file, found))
        elif found is not None and found == before_it.sha256:
            seen.append(file)
        else:
            pending.add(file.day)
    told = [(file, found) for file, found in learnt if found]
    _note(con, raw_table, seen, told)
    return pending, {(file.day, file.name): found for file, found in told}


def _exploded_days(
    con: DuckDBPyConnection, source: Source, raw_table: str, version: str, days: Collection[date] | None
) -> set[date]:
    """Days of which an exploded table does not hold what the table around it holds now, as far as bronze has that."""
    path = source.file.tables[raw_table].exploded
    if path is None or not table_exists(con, "bronze", "files"):
        return set()
    there = table_exists(con, "bronze", source.bronze_table(raw_table))
    rows = con.execute(
        "select distinct coalesce(p._load_date, c._load_date) from (from bronze.files where raw_table = $around) as p "
        "full join (from bronze.files where raw_table = $raw and $there) as c "
        "on p._load_date = c._load_date and p._source_file = c._source_file "
        "where p.loaded_at is distinct from c.loaded_at or c.read_as is distinct from $version",
        {"around": path.table, "raw": raw_table, "there": there, "version": version},
    ).fetchall()
    found = {day for (day,) in rows}
    return found if days is None else found & set(days)


def same_days(held: Mapping[date, Mapping[str, Held]], files: Iterable[RawFile], version: str) -> set[date]:
    """Days whose files, that have been fetched, are byte for byte those that bronze holds, whatever their etags say."""
    there: dict[date, dict[str, RawFile]] = {}
    for file in files:
        there.setdefault(file.day, {})[file.name] = file
    same = set()
    for day, now in there.items():
        before = held.get(day, {})
        if _may_be_the_same(now, before, version) and all(before[name].sha256 for name in now):
            hashes = dict(zip(now, sha256_of(list(now.values())), strict=True))
            if all(before[name].sha256 == found for name, found in hashes.items()):
                same.add(day)
    return same


def note_seen(con: DuckDBPyConnection, raw_table: str, files: Sequence[RawFile]) -> None:
    """Remembers the times, or etags, that files of known bytes have now."""
    _note(con, raw_table, files, [])


def held_files(con: DuckDBPyConnection, source: Source, raw_table: str) -> dict[date, dict[str, Held]]:
    """The files that bronze holds of a raw table, by day and name."""
    version = read_as(source.file, raw_table)
    held: dict[date, dict[str, Held]] = {}
    if not table_exists(con, "bronze", "files"):
        return held
    ensure_table(con, book("files"))
    if table_exists(con, "bronze", source.bronze_table(raw_table)):
        rows = con.execute(
            "select _load_date, _source_file, size_bytes, coalesce(seen_ns, modified_ns), coalesce(read_as, $version), sha256, rows_loaded "
            "from bronze.files where raw_table = $raw",
            {"raw": raw_table, "version": version},
        ).fetchall()
        for day, name, *told in rows:
            held.setdefault(day, {})[name] = Held(*told)
    return held


def read_as(source: SourceFile, raw_table: str) -> str:
    """Hash of all that source.yml says about how a raw table's files are read; another one has them loaded again."""
    raw = source.tables[raw_table]
    said: dict[str, Any] = raw.model_dump(include={"format", "delimiter", "encoding", "columns", "on_drift"})
    if raw.sheet:
        said["sheet"] = raw.sheet
    if raw.exploded:
        said = {"explode": raw.explode, "parent": raw.parent, "around": read_as(source, raw.exploded.table)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def sha256_of(files: Sequence[RawFile | None]) -> list[str | None]:
    """The SHA-256 of each file's bytes; None for one that is None or not to be opened.

    Raises:
        PassingError: a file is gone.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing a file leaves Python free for the next one
        return list(pool.map(_sha256, files))


def _sha256(file: RawFile | None) -> str | None:
    if file is None or file.fault:
        return None
    try:
        with file.path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        raise PassingError("the file is gone", where=file.where, fix="list the drops again and load again") from None


@cache
def book(name: str) -> Contract:
    """The contract of a table that bronze keeps about files."""
    # Only these contracts are read: all of them take longer than a small load.
    return read_contract(MODELS / "bronze" / f"{name}.yml", "bronze")


def _may_be_the_same(now: Mapping[str, RawFile], before: Mapping[str, Held], version: str) -> bool:
    """Whether a day's files differ in their times at most."""
    return now.keys() == before.keys() and all(
        (file.size, version) == (before[name].size, before[name].read_as) for name, file in now.items()
    )


def _known(file: RawFile, before: Held) -> bool:
    """Whether nothing is left to be looked at."""
    return file.mtime_ns == before.time_ns and (before.sha256 is not None or not _can_be_read(file))


def _doubled(day: date, held: Mapping[str, Held], learnt: Mapping[tuple[date, str], str]) -> bool:
    """Whether two files of a day with the same bytes were read: loaded before one of them was left aside."""
    known: set[str] = set()
    for name, file in sorted(held.items()):
        digest = file.sha256 or learnt.get((day, name))
        if digest and digest in known and file.rows:
            return True
        known.add(digest or "")
    return False


def _can_be_read(file: RawFile) -> bool:
    """Whether its bytes are here: not in a store, and no link, pipe or folder that is not to be opened."""
    return not file.url and not file.fault


def _note(
    con: DuckDBPyConnection, raw_table: str, seen: Sequence[RawFile], learnt: Sequence[tuple[RawFile, str]]
) -> None:
    """Writes down the times that files of known bytes were seen with, and the hashes of those that had none."""
    if not seen and not learnt:
        return
    files = [*seen, *(file for file, _ in learnt)]
    with transaction(con):
        con.execute(
            "update bronze.files as f set seen_ns = n.time, sha256 = coalesce(f.sha256, n.sha256), "
            "sha256_learnt = f.sha256_learnt or f.sha256 is null "
            "from (select unnest($days::date[]) as day, unnest($names::varchar[]) as name, unnest($times::bigint[]) as time, "
            "unnest($hashes::varchar[]) as sha256) as n "
            "where f.raw_table = $raw and f._load_date = n.day and f._source_file = n.name",
            {
                "raw": raw_table,
                "days": [file.day for file in files],
                "names": [file.name for file in files],
                "times": [file.mtime_ns for file in files],
                "hashes": [*(None for _ in seen), *(found for _, found in learnt)],
            },
        )
