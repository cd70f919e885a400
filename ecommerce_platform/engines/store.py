"""Tables as Parquet files behind numbered manifests; which rows they hold, the engines decide.

A table is a folder: `parts/` with files that are never changed, `manifests/` with one JSON per version that names the files
of that version. A version exists from the moment its manifest does, which is put if absent: a job that is killed before
leaves files that no manifest names, and of two writers of one version the second loses. A table with many rows lies in hash
buckets of its key, so that an upsert writes anew only the buckets that it touches.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.disk import sync
from ecommerce_platform.errors import InputError, PassingError

#: Rows of a bucket above which a table is written with more of them, when it is written whole.
ROWS_PER_BUCKET = 500_000
MOST_BUCKETS = 256
#: How long files that no manifest names are left alone: a job may still be writing them.
WRITERS_TIME = timedelta(hours=24)
#: How long a version that is no longer the newest is left to those who read it.
READERS_TIME = timedelta(hours=1)


@dataclass(frozen=True)
class Part:
    """One bucket of a version: its files, relative to the table's folder, how many rows they hold, and what else its
    writer knows of them (`digest`)."""

    files: tuple[str, ...]
    rows: int
    digest: str = ""


@dataclass(frozen=True)
class Manifest:
    """One version of a table. `state` says what it was made from, in its writer's words."""

    table: str
    version: int
    columns: Mapping[str, str]
    buckets: int
    parts: Mapping[int, Part] = field(default_factory=dict)
    state: str = ""

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(part.rows for part in self.parts.values())


class Store:
    """The tables below one folder.

    Args:
        root: the folder; every process that reads or writes the tables sees it under this path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, table: str) -> Path:
        """Where `schema.table` lies."""
        return self.root.joinpath(*table.split(".", 1))

    def tables(self) -> list[str]:
        """All tables there are, `schema.table`."""
        return sorted(".".join(path.parts[-2:]) for path in self.root.glob("*/*") if path.is_dir())

    def versions(self, table: str) -> list[int]:
        """Numbers of the versions there are, the oldest first."""
        with suppress(FileNotFoundError):
            names = (path.name for path in (self.folder(table) / "manifests").iterdir())
            return sorted(int(name[:-5]) for name in names if name.endswith(".json"))
        return []

    def current(self, table: str) -> Manifest | None:
        """The newest version; None if there is none."""
        for number in reversed(self.versions(table)):
            with suppress(FileNotFoundError):  # expired since it was listed: then there is a newer one
                return self.read(table, number)
        return None

    def read(self, table: str, version: int) -> Manifest:
        """A version by its number.

        Raises:
            FileNotFoundError: there is none of that number.
            InputError: its manifest is damaged.
        """
        path = self._manifest(table, version)
        text = path.read_text(encoding="utf-8")
        try:
            found = json.loads(text)
            parts = {int(n): Part(tuple(p["files"]), p["rows"], p["digest"]) for n, p in found.pop("parts").items()}
            return Manifest(**found, parts=parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"the manifest is damaged: {error}", where=path, fix="remove the table's folder: a build makes it anew"
            ) from None

    def files(self, manifest: Manifest) -> list[str]:
        """The files of a version, as absolute paths."""
        folder = self.folder(manifest.table)
        return [str(folder / name) for _, part in sorted(manifest.parts.items()) for name in part.files]

    def stage(self, table: str) -> Path:
        """A name below `parts/` that nobody else writes to; the folder is its writer's to make."""
        parts = self.folder(table) / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        return parts / f"{time.time_ns():020}-{secrets.token_hex(4)}"

    def staged(self, table: str, folder: Path) -> dict[int, tuple[str, ...]]:
        """Bucket → files that were written below a staged folder, in `_bucket=<n>` folders."""
        found: dict[int, list[str]] = {}
        for path in sorted(folder.glob("_bucket=*/*.parquet")):
            found.setdefault(int(path.parent.name[8:]), []).append(str(path.relative_to(self.folder(table))))
        return {bucket: tuple(files) for bucket, files in found.items()}

    def commit(self, base: Manifest | None, new: Manifest) -> Manifest:
        """Makes `new` the version after `base`; a killed process leaves either none of it or all.

        Raises:
            PassingError: another writer was faster; nothing was changed.
        """
        new = Manifest(**{**vars(new), "version": base.version + 1 if base else 1})
        path = self._manifest(new.table, new.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        newest = self.current(new.table)
        for name in {n for part in new.parts.values() for n in part.files} - _names(base):
            sync(self.folder(new.table) / name)
        draft = path.parent / f".{secrets.token_hex(8)}"
        try:
            draft.write_text(json.dumps(asdict(new), indent=1), encoding="utf-8")
            sync(draft)
            if newest and newest.version >= new.version:  # also where version numbers were left out by expiry
                raise FileExistsError
            os.link(draft, path)
            sync(path.parent)
        except FileExistsError:
            raise PassingError(
                f"another run has written {new.table} in the meantime",
                where=path,
                fix="nothing was changed by this one; run it again",
            ) from None
        finally:
            draft.unlink(missing_ok=True)
        return new

    def discard(self, folder: Path) -> None:
        """Removes what was staged and will not be committed."""
        shutil.rmtree(folder, ignore_errors=True)

    def expire(
        self, table: str, keep: int = 2, readers: timedelta = READERS_TIME, writers: timedelta = WRITERS_TIME
    ) -> int:
        """Removes old versions, and files that no version names; how many files were removed.

        Args:
            table: `schema.table`.
            keep: how many versions stay at least.
            readers: how long a version stays after a newer one took its place.
            writers: how long files that no version names stay.
        """
        numbers, now, removed = self.versions(table), time.time(), 0
        for number, following in pairwise(numbers):
            superseded = self._manifest(table, following).stat().st_mtime
            if number in numbers[:-keep] and now - superseded >= readers.total_seconds():
                old = _names(self.read(table, number))
                self._manifest(table, number).unlink()
                for name in old - self._named(table):
                    (self.folder(table) / name).unlink(missing_ok=True)
                    removed += 1
        return removed + self._sweep(table, now - writers.total_seconds())

    def _sweep(self, table: str, before: float) -> int:
        """Removes what was last written `before` and no version names: staged files, and manifests that were drafts."""
        named, home = self._named(table), self.folder(table)
        used, removed = {Path(name).parts[1] for name in named}, 0
        for folder in home.glob("parts/*"):
            if folder.name not in used and _last_written(folder) >= before:
                continue
            lost = [path for path in folder.rglob("*.parquet") if str(path.relative_to(home)) not in named]
            for path in lost:  # of a folder in use: what a killed expiry has left there
                path.unlink(missing_ok=True)
            removed += len(lost)
            if folder.name not in used:
                self.discard(folder)
        for draft in home.glob("manifests/.*"):
            if draft.stat().st_mtime < before:
                draft.unlink()
        return removed

    def _named(self, table: str) -> set[str]:
        """The files of all versions."""
        found: set[str] = set()
        for number in self.versions(table):
            with suppress(FileNotFoundError):  # expired since it was listed
                found |= _names(self.read(table, number))
        return found

    def _manifest(self, table: str, version: int) -> Path:
        return self.folder(table) / "manifests" / f"{version:08}.json"


def _names(manifest: Manifest | None) -> set[str]:
    return {name for part in manifest.parts.values() for name in part.files} if manifest else set()


def _last_written(folder: Path) -> float:
    """When something below a folder was last written, in seconds since 1970; others may be writing there."""
    times = [0.0]
    for where, _, names in os.walk(folder):
        for path in (Path(where), *(Path(where, name) for name in names)):
            with suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
    return max(times)


def buckets_for(rows: int) -> int:
    """How many buckets a table of so many rows is written in: a power of two."""
    wanted, buckets = rows / ROWS_PER_BUCKET, 1
    while buckets < wanted and buckets < MOST_BUCKETS:
        buckets *= 2
    return buckets


def bucket_columns(contract: Contract) -> Sequence[str]:
    """The key's columns that decide the bucket: all whose text every engine writes alike."""
    kinds = {name: contract.all_columns[name].type for name in contract.key}
    return [name for name, kind in kinds.items() if kind != "DOUBLE"]


def bucket_sql(contract: Contract, buckets: int) -> str:
    """The bucket of a row, 0 to `buckets` - 1, in DuckDB's SQL; translated it gives the same number on Spark."""
    texts = []
    for name in bucket_columns(contract):
        kind = contract.all_columns[name].type
        quoted = '"' + name + '"'
        text = f"strftime({quoted}, '%Y-%m-%d %H:%M:%S')" if kind == "TIMESTAMP" else f"cast({quoted} as varchar)"
        texts.append(f"coalesce({text}, '')")
    joined = " || '|' || ".join(texts) or "''"
    digits = (f"(strpos('0123456789abcdef', substr(md5({joined}), {place}, 1)) - 1)" for place in (1, 2))
    return f"cast(({' * 16 + '.join(digits)}) % {buckets} as integer)"
