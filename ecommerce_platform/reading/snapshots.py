"""Reading what is published: which snapshots there are, finding one, opening one.

Dashboards, the API, notebooks and `ecommerce sql` read through this and never open the warehouse file. Whoever reads
more than one table takes a snapshot's own folder (`current_snapshot` resolves it), not the `current` link: the link
may move between two reads. Nothing here writes; how snapshots come and go is in `publishing/publish.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.disk import fingerprint
from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: Version of the manifest and of how tables are written; manifests from before it was counted have none.
FORMAT = 1
#: A snapshot is named after the UTC microsecond it was read at, so that names sort by time.
_ID_FORMAT = "%Y%m%dT%H%M%S%fZ"
_ID = re.compile(r"\d{8}T\d{12}Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?")
#: How many snapshots an error message lists.
_LISTED = 10


@dataclass(frozen=True)
class SnapshotInfo:
    """What is known about a published snapshot without reading its tables."""

    id: str
    #: The snapshot's own folder, not the `current` link.
    folder: Path
    source: str
    published_at: datetime
    #: The run that published it; None from the command line.
    run_id: str | None
    #: Rows by table.
    tables: dict[str, int]
    #: Tables that differ from the snapshot before.
    changed: tuple[str, ...]
    #: Tables that were behind what they are made from, with what they were behind.
    lagging: dict[str, list[str]]
    #: Newest day of load that was in the warehouse.
    newest_load: date | None
    #: Bytes of the tables that no earlier listed snapshot shares: the sum over all is what is on disk.
    own_bytes: int
    #: Bytes of the tables that are hard links into an earlier listed snapshot.
    linked_bytes: int
    current: bool

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.tables.values())

    @property
    def local_time(self) -> str:
        """When it was published, by this machine's clock, to the second."""
        return f"{self.published_at.astimezone():%Y-%m-%d %H:%M:%S}"


def snapshot_id(moment: datetime) -> str:
    """The name of a snapshot that is read at `moment`."""
    return moment.astimezone(UTC).strftime(_ID_FORMAT)


def snapshot_time(name: str) -> datetime | None:
    """When the snapshot `name` was read; None for a folder that is no snapshot."""
    if not _ID.fullmatch(name):
        return None
    try:
        return datetime.strptime(name, _ID_FORMAT).replace(tzinfo=UTC)
    except ValueError:  # digits that are no time
        return None


def snapshot_folders(published: Path) -> list[Path]:
    """Folders of the complete snapshots, oldest first."""
    try:
        return sorted(f for f in (published / "snapshots").iterdir() if snapshot_time(f.name))
    except FileNotFoundError:
        return []


def current_snapshot(published: Path) -> Path:
    """The current snapshot's own folder: what is read from it is one state, whatever is published meanwhile.

    Raises:
        InputError: nothing is published yet.
    """
    # Resolved before looking: the link may move on between two looks.
    folder = (published / "current").resolve()
    if not (folder / "manifest.json").is_file():
        raise _nothing(published)
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a snapshot says about itself.

    Raises:
        InputError: there is no such snapshot, its manifest is damaged or of a later version of the platform.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        newer = manifest.get("format", 0) > FORMAT
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "there is no such snapshot (any more)", where=folder, fix="`ecommerce snapshots` lists what there is"
        ) from None
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"the manifest is damaged: {error}", where=path, fix="remove that snapshot's folder, then publish"
        ) from None
    if newer:
        raise InputError(
            f"the snapshot was written by a later version (format {manifest['format']}, known are up to {FORMAT})",
            where=path,
            fix="update ecommerce_platform",
        )
    return manifest


def open_snapshot(folder: Path, config: Mapping[str, Any] | None = None) -> DuckDBPyConnection:
    """An in-memory DuckDB with a view per published table (`gold.kpi_summary` …) that reaches nothing else.

    Only the files of the snapshot's tables can be opened: no other file, folder, database or extension, and no setting
    can be changed. (A file that may be read could still be written over by COPY, so SQL of others goes through
    `reading.query.ask`.)

    What the manifest tells of the tables is there, too: `about.tables`, `about.columns`, `about.lineage` (table from
    table), `about.column_lineage` and `about.checks`; empty for snapshots from before it was told.

    Args:
        folder: a snapshot's folder.
        config: DuckDB settings: `memory_limit`, `threads`, `temp_directory` (default: nothing is spilled to disk).

    Raises:
        InputError: there is no such snapshot, or a file of it is missing.
    """
    import duckdb

    # Else the views would follow the `current` link to another snapshot later on.
    folder = folder.resolve()
    manifest = read_manifest(folder)
    # Else a Python variable named like a table would be read where the table is not published.
    fixed = {"python_enable_replacements": False}
    con = duckdb.connect(":memory:", config={"temp_directory": "", **(config or {}), **fixed})
    files = {table: str(folder / entry["file"]) for table, entry in manifest["tables"].items()}
    # A folder would let SQL read what lies beside the tables: the key, restricted files, other snapshots.
    con.execute(f"set allowed_paths = [{', '.join(map(_quoted, files.values()))}]")
    con.execute("set enable_external_access = false")
    con.execute("set lock_configuration = true")
    _make_views(con, folder, files)
    _tell(con, manifest)
    return con


def _make_views(con: DuckDBPyConnection, folder: Path, files: Mapping[str, str]) -> None:
    import duckdb

    for table, path in files.items():
        schema, name = table.split(".")
        try:
            con.execute(f"create schema if not exists {schema}")
            con.execute(f"create view {schema}.{quote(name)} as select * from read_parquet({_quoted(path)})")
        except duckdb.Error as error:
            con.close()
            why = error if Path(path).is_file() else f"its file is missing: {path}"
            raise InputError(
                f"{table} of the snapshot cannot be read: {why}",
                where=folder,
                fix="`ecommerce publish` writes it anew; `ecommerce snapshots --verify` looks at all files",
            ) from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


#: The tables of the schema `about`: their columns, and which of them are lists while rows are gathered.
_ABOUT = {
    "tables": {
        "table_name": "VARCHAR", "layer": "VARCHAR", "subject": "VARCHAR", "description": "VARCHAR", "grain": "VARCHAR",
        "owners": "VARCHAR", "rows": "BIGINT", "changed_at": "TIMESTAMP", "built_at": "TIMESTAMP",
        "fresh_within_hours": "INTEGER", "fresh_until": "TIMESTAMP", "failed_checks": "INTEGER",
    },
    "columns": {
        "table_name": "VARCHAR", "position": "INTEGER", "column_name": "VARCHAR", "type": "VARCHAR", "unit": "VARCHAR",
        "description": "VARCHAR", "personal": "BOOLEAN",
    },
    "lineage": {"table_name": "VARCHAR", "from_table": "VARCHAR"},
    "column_lineage": {
        "table_name": "VARCHAR", "column_name": "VARCHAR", "from_table": "VARCHAR", "from_column": "VARCHAR",
    },
    "checks": {
        "table_name": "VARCHAR", "check_name": "VARCHAR", "passed": "BOOLEAN", "severity": "VARCHAR",
        "checked_at": "TIMESTAMP", "says": "VARCHAR", "meaning": "VARCHAR",
    },
}  # fmt: skip


def _tell(con: DuckDBPyConnection, manifest: dict[str, Any]) -> None:
    """Makes tables of what the manifest tells of tables."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _ABOUT}
    for table, told in manifest.get("about", {}).items():
        entry, built = manifest["tables"].get(table, {}), told["built_at"]
        hours = told["fresh_within_hours"]
        until = (datetime.fromisoformat(built) + timedelta(hours=hours)).isoformat() if built and hours else None
        checks = told["checks"]
        rows["tables"].append(
            (table, told["layer"], told["subject"], told["description"], told["grain"], ", ".join(told["owners"]),
             entry.get("rows"), entry.get("changed_at"), _moment(built), hours, _moment(until),
             sum(not check["passed"] for check in checks.values()))
        )  # fmt: skip
        rows["lineage"] += [(table, above) for above in told["reads"]]
        for position, (name, column) in enumerate(told["columns"].items(), 1):
            rows["columns"].append(
                (table, position, name, column["type"], column["unit"], column["description"], column["personal"])
            )
            rows["column_lineage"] += [(table, name, *source.rsplit(".", 1)) for source in column["reads"]]
        rows["checks"] += [
            (table, name, c["passed"], c["severity"], _moment(c["at"]), c["says"], c["meaning"])
            for name, c in checks.items()
        ]
    con.execute("create schema if not exists about")
    for name, columns in _ABOUT.items():
        con.execute(f"create table about.{name} ({', '.join(f'{quote(c)} {t}' for c, t in columns.items())})")
        if rows[name]:
            lists = ", ".join(f"unnest(?::varchar[])::{t}" for t in columns.values())
            texts = [[None if v is None else str(v) for v in values] for values in zip(*rows[name], strict=True)]
            con.execute(f"insert into about.{name} select {lists}", texts)


def _moment(text: str | None) -> str | None:
    """A time of the manifest as DuckDB reads a TIMESTAMP: UTC, without the offset."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat(" ") if text else None


def snapshots(published: Path) -> list[SnapshotInfo]:
    """All complete snapshots, oldest first; none when nothing is published yet.

    Raises:
        InputError: a manifest is damaged, or a file is missing.
    """
    current = (published / "current").resolve()
    known_files: set[tuple[int, int]] = set()
    found = []
    for folder in snapshot_folders(published):
        try:
            manifest = read_manifest(folder)
            stats = [(folder / entry["file"]).stat() for entry in manifest["tables"].values()]
        except (InputError, FileNotFoundError) as error:
            if not folder.exists():
                continue  # removed since it was listed
            if isinstance(error, InputError):
                raise
            raise InputError(
                "a table's file is missing", where=error.filename, fix="remove that snapshot's folder, then publish"
            ) from None
        own = sum(s.st_size for s in stats if (s.st_dev, s.st_ino) not in known_files)
        known_files |= {(s.st_dev, s.st_ino) for s in stats}
        is_current = folder.resolve() == current
        found.append(_info(folder, manifest, own, sum(s.st_size for s in stats) - own, current=is_current))
    return found


def _info(folder: Path, manifest: Mapping[str, Any], own: int, linked: int, *, current: bool) -> SnapshotInfo:
    newest = max((load["newest"] for load in manifest.get("loads", {}).values()), default=None)
    return SnapshotInfo(
        id=folder.name,
        folder=folder,
        source=manifest["source"],
        published_at=datetime.fromisoformat(manifest["published_at"]).astimezone(UTC),
        run_id=manifest.get("run_id"),
        tables={table: entry["rows"] for table, entry in manifest["tables"].items()},
        changed=tuple(manifest.get("changed", manifest["tables"])),
        lagging=manifest.get("lagging", {}),
        newest_load=date.fromisoformat(newest) if newest else None,
        own_bytes=own,
        linked_bytes=linked,
        current=current,
    )


@dataclass(frozen=True)
class Verified:
    """What comparing a snapshot's files with its manifest has shown."""

    #: Table → what is wrong with its file.
    damaged: dict[str, str]
    #: Tables published before hashes were kept: nothing can be said of them but their size.
    unknown: tuple[str, ...]


def verify(folder: Path, known: dict[tuple[int, int], str] | None = None) -> Verified:
    """Compares the content of every table's file with the hash in the manifest; reads all of them once.

    Args:
        folder: the snapshot's folder.
        known: hashes of files that were looked at before, by device and inode (snapshots share files); added to.

    Raises:
        InputError: there is no such snapshot, or its manifest is damaged.
    """
    seen = {} if known is None else known
    damaged: dict[str, str] = {}
    unknown = []
    manifest = read_manifest(folder)
    for table, entry in (*manifest["tables"].items(), *manifest.get("restricted", {}).items()):
        try:
            stat = (folder / entry["file"]).stat()
            file = (stat.st_dev, stat.st_ino)
            if stat.st_size != entry["bytes"]:
                damaged[table] = f"{stat.st_size:,} bytes instead of {entry['bytes']:,}"
            elif not entry.get("sha256"):
                unknown.append(table)
            elif (seen.get(file) or seen.setdefault(file, fingerprint(folder / entry["file"]))) != entry["sha256"]:
                damaged[table] = "its content is not what was published"
        except OSError as error:
            damaged[table] = f"it cannot be read: {error.strerror}"
    return Verified(damaged, tuple(unknown))


def find_snapshot(published: Path, as_of: str | date) -> SnapshotInfo:
    """The snapshot that `as_of` means.

    Args:
        published: the folder of snapshots.
        as_of: an id, the beginning of one, or a day or time: then the newest snapshot published by that time. A time
            is meant as precisely as it is written and includes its end: `2024-01-31` is that whole day, `2024-01-31
            14:05` that whole minute. Without an offset it is this machine's local time.

    Raises:
        InputError: nothing fits, or several ids begin so; the message lists what there is.
    """
    there = snapshots(published)
    if not there:
        raise _nothing(published)
    text = as_of.isoformat() if isinstance(as_of, date) else as_of.strip()
    if isinstance(as_of, datetime):
        end: datetime | None = as_of.astimezone(UTC) + timedelta(microseconds=1)
    else:
        end = _end(text, published)
    if end is not None:
        if fitting := [s for s in there if s.published_at < end]:
            return max(fitting, key=lambda s: s.published_at)
        raise InputError(f"nothing had been published by {text}", where=published, fix=_what_there_is(there))
    fitting = [s for s in there if text and s.id.startswith(text.upper())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"{len(fitting)} snapshots begin with {text!r}",
            where=published,
            fix=f"write more of the id, or a day as YYYY-MM-DD; {_what_there_is(fitting)}",
        )
    raise InputError(
        f"there is no snapshot {text!r}",
        where=published,
        fix=f"write an id, its beginning, YYYY-MM-DD or 'YYYY-MM-DD HH:MM'; {_what_there_is(there)}",
    )


def _end(text: str, published: Path) -> datetime | None:
    """The first moment that a written day or time no longer includes; None where it is neither."""
    found = _MOMENT.fullmatch(text)
    if not found:
        return None
    clock, seconds, fraction, _ = found.groups()
    if not clock:
        step = timedelta(days=1)
    elif not seconds:
        step = timedelta(minutes=1)
    else:
        step = timedelta(microseconds=10 ** (7 - len(fraction))) if fraction else timedelta(seconds=1)
    try:
        return (datetime.fromisoformat(text) + step).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is no time: {error}", where=published, fix="write YYYY-MM-DD or 'YYYY-MM-DD HH:MM'"
        ) from None


def _what_there_is(there: list[SnapshotInfo]) -> str:
    shown = ", ".join(f"{s.id} ({s.local_time})" for s in reversed(there[-_LISTED:]))
    return f"there is {shown}" + (f" and {len(there) - _LISTED} older" if len(there) > _LISTED else "")


def _nothing(published: Path) -> InputError:
    return InputError("nothing is published yet", where=published, fix="run `ecommerce build` and `ecommerce publish`")
