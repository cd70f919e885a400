"""The current snapshot as Delta tables, for what reads those: Power BI, Databricks, Spark, DuckDB.

Below a folder:

    <schema>/<table>     a Delta table; its newest version is what the snapshot's file holds, personal columns hashed as there
    snapshot.json        which snapshot it is, and the version of each table that belongs to it

A table that did not change gets no version. Each table changes in one step, all of them do not: who reads several takes the
versions of `snapshot.json`. Whatever stops a copy leaves whole tables, and the next one goes on. No statistics of values go to
Delta's log, which outlives the versions. `restricted/` is not copied.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.disk import open_to_group
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.publishing.publish import READERS_TIME, alone, as_published, own, write_whole
from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest

if TYPE_CHECKING:
    from deltalake import DeltaTable

CURRENT = "snapshot.json"
#: What a commit says of the content that it wrote, and of the snapshot that this came from.
_CONTENT, _SNAPSHOT = "ecommerce_sha256", "ecommerce_snapshot"
#: Values of the data must not stand in the log: whoever is forgotten would stay there.
_CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Copied:
    """What was done to the Delta tables of a folder."""

    folder: Path
    snapshot: str
    #: Tables that got a version, those that are there as they are, and those that are no longer published.
    written: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def require_delta() -> None:
    """Raises a SettingsError that says what to install if Delta tables cannot be written here."""
    if importlib.util.find_spec("deltalake") is None:
        raise SettingsError(
            "deltalake is not installed",
            where="ECOMMERCE_DELTA_DIR",
            fix="pip install 'ecommerce_platform[delta]' -c constraints.txt; or unset it",
        )


def copy_to_delta(
    published: Path,
    folder: Path,
    *,
    keep: int = 10,
    readers: timedelta = READERS_TIME,
    forgetting: bool = False,
    progress: Progress | None = None,
    log: logging.Logger | Any = _log,
) -> Copied:
    """Makes the current snapshot of `published` the newest version of the Delta tables in a folder.

    One copy works at a time; others wait.

    Args:
        published: the folder of snapshots.
        folder: of the tables; belongs to one source. Made if it is not there.
        keep: how many versions of a table stay, at least 1.
        readers: how long, in whole hours, a version stays besides after a newer one took its place.
        forgetting: removes what earlier versions hold, of all tables and at once: somebody may be in there.
        progress: called with table, number of the table, number of tables.
        log: where waiting is told.

    Raises:
        SettingsError: deltalake is missing; the folder is another source's.
        InputError: nothing is published; a file is not what was published.
    """
    require_delta()
    with alone(published, ".delta.lock", log, doing="is writing Delta tables"):
        # Looked up here: who waited copies what is current now.
        snapshot = current_snapshot(published)
        manifest = read_manifest(snapshot)
        folder.mkdir(parents=True, exist_ok=True)
        own(folder, manifest["source"], "ECOMMERCE_DELTA_DIR")
        tables, versions, written = manifest["tables"], {}, []
        for number, (table, entry) in enumerate(tables.items(), 1):
            if progress:
                progress(table, number, len(tables))
            copy = _Table(table, folder)
            if not copy.holds(entry):
                copy.write(snapshot, entry)
                written.append(table)
            if forgetting or written[-1:] == [table]:
                copy.expire(1 if forgetting else keep, timedelta(0) if forgetting else readers)
            versions[table] = copy.version
        removed = _remove(folder, set(tables))
        _say(folder, {**{k: manifest[k] for k in ("snapshot", "source", "published_at")}, "tables": versions})
        open_to_group(folder)
    unchanged = tuple(table for table in tables if table not in written)
    return Copied(folder, snapshot.name, tuple(written), unchanged, removed)


class _Table:
    """One Delta table, there or not."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.path = name, folder.joinpath(*name.split(".", 1))

    def _open(self) -> DeltaTable | None:
        from deltalake import DeltaTable

        return DeltaTable(self.path) if DeltaTable.is_deltatable(str(self.path)) else None

    def _ours(self) -> list[dict[str, Any]]:
        """The commits that wrote content, the newest first."""
        table = self._open()
        return [commit for commit in table.history() if _CONTENT in commit] if table else []

    @property
    def version(self) -> int:
        """The version that the newest content has."""
        return int(self._ours()[0]["version"])

    def holds(self, entry: Mapping[str, Any]) -> bool:
        """Whether its newest content is that of a snapshot's file."""
        ours = self._ours()
        return bool(ours and entry.get("sha256")) and ours[0][_CONTENT] == entry["sha256"]

    def write(self, snapshot: Path, entry: Mapping[str, Any]) -> None:
        """Adds a version with what a snapshot's file holds, batch by batch."""
        import pyarrow as pa
        from deltalake import CommitProperties, WriterProperties, write_deltalake
        from pyarrow.parquet import ParquetFile

        as_published(snapshot, entry)
        told = {_CONTENT: entry.get("sha256") or "", _SNAPSHOT: snapshot.name}
        with ParquetFile(snapshot / entry["file"]) as file:
            write_deltalake(
                self.path,
                pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches()),
                mode="overwrite",
                schema_mode="overwrite",
                name=self.name,
                description=entry["description"],
                configuration=_CONFIGURATION,
                writer_properties=WriterProperties(compression="ZSTD"),
                commit_properties=CommitProperties(custom_metadata=told),
            )

    def expire(self, keep: int, readers: timedelta) -> None:
        """Removes the files of old versions, and those that killed copies have left."""
        table, ours = self._open(), [int(commit["version"]) for commit in self._ours()]
        assert table is not None
        table.vacuum(
            retention_hours=int(readers.total_seconds() // 3600),
            enforce_retention_duration=False,
            keep_versions=ours[: max(keep, 1)],
            full=True,
            dry_run=False,
        )


def _remove(folder: Path, published: set[str]) -> tuple[str, ...]:
    """Removes the tables of the copy before that are no longer published."""
    try:
        before = json.loads((folder / CURRENT).read_text(encoding="utf-8"))["tables"]
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError):
        raise InputError(
            "this is not what the platform writes there", where=folder / CURRENT, fix="remove it, and publish again"
        ) from None
    gone = sorted(before.keys() - published)
    for table in gone:
        shutil.rmtree(_Table(table, folder).path, ignore_errors=True)
    return tuple(gone)


def _say(folder: Path, content: Mapping[str, Any]) -> None:
    write_whole(folder / CURRENT, json.dumps(content, indent=2), 0o640)
