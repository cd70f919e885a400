"""Taking a person out of the published snapshots, here and in their copy in an object store.

In every kept snapshot the person's rows lose their personal columns, hashed ones too: the hash of an e-mail address tells
who was meant to everybody who has the address. All else stays as it was published. A file that several snapshots share is
written once and shared again; a reader who has it open keeps reading the version that it opened.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.disk import fingerprint, sync
from ecommerce_platform.forgetting.ledger import Journal
from ecommerce_platform.forgetting.rewrite import MARKER
from ecommerce_platform.forgetting.tables import filled, instead, personal_columns, tell_ids, telling_columns, whose
from ecommerce_platform.publishing.publish import alone, rewrite_manifest, tidy
from ecommerce_platform.reading.snapshots import read_manifest, snapshot_folders, snapshot_time

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.object_store import ObjectStore

_log = logging.getLogger(__name__)

REJECTS = "silver.rejects"
#: Tables about columns of loads → what in their rows can show a value of such a column.
_ABOUT = {
    "gold.table_profiles": (
        "minimum", "q01", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q99", "maximum", "mean", "deviation",
        "top_values", "histogram",
    ),
    "gold.profile_drift": ("explanation",),
}  # fmt: skip
#: Takes the place of what must not be missing.
_MARKED = f"'{MARKER}'"
#: Files on their way into a snapshot; nothing reads them.
_NEW = ".forgetting-"


@dataclass
class Cleaned:
    """What was (or would be) done: snapshots whose files change, the files, and rows in these by table."""

    snapshots: list[str] = field(default_factory=list)
    files: int = 0
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """A table of a snapshot: its name, its contract of today if it has one, what was published hashed then, and whether
    with the key of today, so that hashes can be compared."""

    name: str
    contract: Contract | None
    hashed: frozenset[str]
    comparable: bool

    @classmethod
    def of(cls, name: str, manifests: Sequence[Mapping[str, Any]], wanted: Wanted) -> _Table:
        """The table of that name in these manifests, which share one file."""
        table = wanted.catalog.tables.get(name)
        return cls(
            name,
            table.contract if table else None,
            frozenset(n for m in manifests for n in m["tables"][name].get("hashed", ())),
            all(m.get("hash_key") == wanted.hash_key for m in manifests),
        )

    def personal(self, columns: Collection[str]) -> list[str]:
        """See `personal_columns`."""
        return personal_columns(self.contract, columns, self.hashed)

    def telling(self, columns: Collection[str]) -> list[str]:
        """See `telling_columns`."""
        return telling_columns(self.contract, columns, self.hashed)

    def required(self, column: str) -> bool:
        """Whether a column must not be empty."""
        known = self.contract.all_columns.get(column) if self.contract else None
        return bool(known and known.required)


@dataclass(frozen=True)
class Wanted:
    """What is to be taken out.

    Args:
        catalog: which columns are personal.
        journal: whom to take out.
        config: DuckDB settings of the database in memory that rewrites files.
        stand_ins: ids of the person that are personal → what takes their place in every table.
        hash_key: fingerprint of the key that the journal's hashes of rejected rows were made with, as manifests have it.
    """

    catalog: Catalog
    journal: Journal
    config: Mapping[str, Any]
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    hash_key: str | None = None


def clean_snapshots(published: Path, wanted: Wanted, *, dry: bool = False, log: Any = _log) -> Cleaned:
    """Takes the person out of all snapshots of a folder. Waits for a publish; none begins meanwhile.

    Args:
        published: the folder of snapshots.
        wanted: what to take out.
        dry: only counts.
        log: where waiting is told.

    Raises:
        InputError: a manifest is damaged.
        OSError: a file cannot be written.
    """
    done = Cleaned()
    if not (published / "snapshots").is_dir():
        return done
    with alone(published, ".lock", log), _Cleaner(wanted) as cleaner:
        for left in published.glob(f"snapshots/*/**/{_NEW}*"):
            left.unlink()
        if not dry:  # half a snapshot holds as much of the person as a whole one
            tidy(published)
        files = _files(published, wanted)
        dirty = {f for file in files if file.decides and cleaner.rows(file.path, file.table) for f in file.folders}
        touched: set[Path] = set()
        # What decides about other tables comes last, so that a kill leaves it to decide again.
        for file in sorted(files, key=lambda file: file.decides):
            rows = cleaner.rows(file.path, file.table, all_columns=not dirty.isdisjoint(file.folders))
            if not rows:
                continue
            done.files += 1
            done.rows[file.name] = done.rows.get(file.name, 0) + rows
            touched.update(file.folders)
            if not dry:
                file.rewrite(cleaner)
        done.snapshots = sorted(folder.name for folder in touched)
    return done


@dataclass(frozen=True)
class _File:
    """A Parquet file with all its names: what snapshots share must not keep its old content under another name."""

    paths: list[Path]
    #: The table, as the first of its names has it.
    name: str
    table: _Table
    #: Where manifests tell of it: `tables`, or `restricted` for what is personal in clear.
    part: str

    @property
    def path(self) -> Path:
        """One of its names."""
        return self.paths[0]

    @property
    def folders(self) -> list[Path]:
        """The snapshots that hold it."""
        return [path.parents[1] for path in self.paths]  # <snapshot>/<layer or restricted>/<table>.parquet

    @property
    def decides(self) -> bool:
        """Whether its rows say that a snapshot still holds something of the person."""
        return _decides(self.table.name)

    def rewrite(self, cleaner: _Cleaner) -> None:
        """Puts the file without the person in its place, under all its names."""
        first = self.path.with_name(f"{_NEW}{self.path.name}")
        cleaner.write(self.path, first, self.table)
        shutil.copymode(self.path, first)
        sync(first)
        # First said, then done: a kill in between leaves a file that is rewritten (and said) again.
        _say(self.path, first, self.folders, self.part, self.name)
        for other in self.paths[1:]:
            new = other.with_name(f"{_NEW}{other.name}")
            os.link(first, new)
            os.replace(new, other)
            sync(other.parent)
        os.replace(first, self.path)
        sync(self.path.parent)


def _files(published: Path, wanted: Wanted) -> list[_File]:
    """Every Parquet file of all snapshots, once, whatever its names."""
    names: dict[tuple[int, int], list[tuple[Path, str, str]]] = {}
    manifests: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for folder in snapshot_folders(published):
        manifest = read_manifest(folder)
        told = [(part, *of) for part in ("tables", "restricted") for of in manifest.get(part, {}).items()]
        for part, table, entry in told:
            path = folder / entry["file"]
            if path.is_file():
                stat = path.stat()
                names.setdefault((stat.st_dev, stat.st_ino), []).append((path, table, part))
                manifests.setdefault((stat.st_dev, stat.st_ino), []).append(manifest)
    return [
        _File(
            [path for path, _, _ in shared],
            shared[0][1],
            _Table.of(shared[0][1], manifests[file], wanted),
            shared[0][2],
        )
        for file, shared in names.items()
    ]


def _decides(table: str) -> bool:
    """Whether its rows say that a snapshot still holds something of the person."""
    return table.startswith("silver.")


def _say(old: Path, new: Path, folders: Sequence[Path], part: str, table: str) -> None:
    """Makes manifests say what the file that takes the place of `old` is.

    A file that was damaged before stays one that is not what was published, so that the next publish writes it anew.
    """
    before, after = fingerprint(old), fingerprint(new)
    for folder in folders:
        manifest = read_manifest(folder)
        entry = manifest[part][table]
        # The one before as well: what a kill has left is still what was published.
        if not entry.get("sha256") or before in (entry["sha256"], entry.get("sha256_before")):
            entry |= {"sha256": after, "sha256_before": before}
        entry["bytes"] = new.stat().st_size
        rewrite_manifest(folder, manifest)


def clean_mirror(
    published: Path, url: str, wanted: Wanted, scratch: Path, *, dry: bool = False, log: Any = _log
) -> Cleaned:
    """The same for the copy in an object store; a mirror is waited for.

    Raises:
        PlatformError: the store cannot be reached or written.
    """
    from ecommerce_platform.object_store import ObjectStore

    store, done = ObjectStore(url), Cleaned()
    scratch.mkdir(parents=True, exist_ok=True)
    published.mkdir(parents=True, exist_ok=True)
    with alone(published, ".mirror.lock", log), _Cleaner(wanted) as cleaner:
        there = store.objects("snapshots")
        if not dry:
            store.remove(_half_brought(there))
        for name in sorted(n for n in there if n.endswith("/manifest.json") and snapshot_time(n.split("/")[1])):
            prefix = name.removesuffix("manifest.json")
            manifest = json.loads(store.read(name) or b"{}")
            with TemporaryDirectory(prefix="forget-", dir=scratch) as folder:
                changed = _clean_copy(store, prefix, manifest, cleaner, Path(folder), there, done, dry)
            if changed:
                done.snapshots.append(prefix.split("/")[1])
            if changed and not dry:
                store.write(name, json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return done


def _half_brought(there: Collection[str]) -> list[str]:
    """Objects of snapshots that a mirror was killed in bringing or removing: without a manifest, nobody reads them."""
    folders = {name.split("/")[1] for name in there if name.count("/") > 1}
    half = {f for f in folders if snapshot_time(f) and f"snapshots/{f}/manifest.json" not in there}
    return sorted(name for name in there if name.count("/") > 1 and name.split("/")[1] in half)


def _note_file(entry: dict[str, Any], old: Path, new: Path) -> None:
    """What a manifest says of a file that takes another's place."""
    if entry.get("sha256") in (None, fingerprint(old)):
        entry["sha256"] = fingerprint(new)
    entry["bytes"] = new.stat().st_size


def _clean_copy(
    store: ObjectStore,
    prefix: str,
    manifest: dict[str, Any],
    cleaner: _Cleaner,
    folder: Path,
    there: Mapping[str, Any],
    done: Cleaned,
    dry: bool,
) -> bool:
    changed = False
    tables = {t: _Table.of(t, [manifest], cleaner.wanted) for t in manifest.get("tables", {})}
    concerned = {
        table: entry
        for table, entry in manifest.get("tables", {}).items()
        if prefix + entry["file"] in there and cleaner.concerned(entry["columns"], tables[table])
    }
    for table, entry in concerned.items():
        store.download(prefix + entry["file"], folder / table, there[prefix + entry["file"]].size)
    dirty = any(_decides(t) and cleaner.rows(folder / t, tables[t]) for t in concerned)
    for table in sorted(concerned, key=_decides):
        entry = concerned[table]
        name = prefix + entry["file"]
        old, new = folder / table, folder / "new.parquet"
        rows = cleaner.rows(old, tables[table], all_columns=dirty)
        if rows:
            done.files += 1
            done.rows[table] = done.rows.get(table, 0) + rows
            if not dry:
                cleaner.write(old, new, tables[table])
                # First said, then done: a kill in between leaves an object that is rewritten (and said) again.
                _note_file(entry, old, new)
                store.write(f"{prefix}manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
                store.upload(new, name)
        size = new.stat().st_size if rows and not dry else there[name].size
        # After a kill the file may be new and the manifest old.
        changed = changed or bool(rows) or entry["bytes"] != size
        entry["bytes"] = size if not dry else entry["bytes"]
    return changed


class _Cleaner:
    """A database in memory that looks for the person in Parquet files and writes them without."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.stand_ins = wanted, wanted.stand_ins

    def __enter__(self) -> _Cleaner:
        import duckdb

        self.con: DuckDBPyConnection = duckdb.connect(":memory:", config=dict(self.wanted.config))
        tell_ids(self.con, self.wanted.journal)
        return self

    def __exit__(self, *_: object) -> None:
        self.con.close()

    def concerned(self, columns: Mapping[str, str], table: _Table) -> bool:
        """Whether a table with these columns can hold anything of a person."""
        return bool(
            (table.personal(columns) and whose(columns, table.contract))
            or self._ids(columns, table)
            or self._about(columns, table)[0]
        )

    def rows(self, path: Path, table: _Table, *, all_columns: bool = False) -> int:
        """Rows of the person that hold something personal; with `all_columns` also what may be derived from it."""
        columns = self._columns(path)
        conditions = [f"{quote(n)} in (select unnest($ids::varchar[]))" for n in self._ids(columns, table)]
        looked_at = table.personal(columns) if all_columns else table.telling(columns)
        if looked_at and (mine := self._whose(columns, table)):
            conditions.append(f"({mine} and ({filled(looked_at, columns)}))")
        showing, shown = self._about(columns, table)
        if showing:
            conditions.append(f"({showing} and ({' or '.join(f'{quote(n)} is not null' for n in shown)}))")
        if not conditions:
            return 0
        ids = {"ids": sorted(self.stand_ins)} if self._ids(columns, table) else {}
        row = self.con.execute(
            f"select count(*) from read_parquet({_path(path)}) where {' or '.join(conditions)}", ids
        ).fetchone()
        return int(row[0]) if row else 0

    def write(self, path: Path, target: Path, table: _Table) -> None:
        """Writes the file without what is personal in the person's rows; all else is as it was, in its order."""
        columns = self._columns(path)
        mine = self._whose(columns, table)
        new = {n: instead(n, self.stand_ins) for n in self._ids(columns, table)}
        for name in table.personal(columns) if mine else ():
            # What a contract requires must not be missing.
            needed = table.required(name) and columns[name] == "VARCHAR"
            new[name] = f"case when {mine} then {_MARKED if needed else 'null'} else {quote(name)} end"
        showing, shown = self._about(columns, table)
        new |= {n: f"case when not {showing} then {new.get(n, quote(n))} end" for n in shown}
        values = ", ".join(f"{value} as {quote(name)}" for name, value in new.items())
        out = str(target).replace("'", "''")
        self.con.execute(
            f"copy (select * replace ({values}) from read_parquet({_path(path)})) to '{out}' "
            "(format parquet, compression zstd)"
        )

    def _whose(self, columns: Mapping[str, str], table: _Table) -> str:
        mine = whose(columns, table.contract)
        if table.name != REJECTS or "raw_row" not in columns or not table.comparable:
            return mine
        # Where the person's record stands now, an earlier version of the file may have had somebody else's.
        rejected = (
            f"raw_row in (select unnest([{', '.join(map(_quoted, sorted(self.wanted.journal.rejected)))}]::varchar[]))"
        )
        return f"({mine} and coalesce({rejected}, true))"

    def _about(self, columns: Mapping[str, str], table: _Table) -> tuple[str, list[str]]:
        """The condition for a row to be about a column of a load that delivered the person, which is shown as it is and
        belongs to a person; and the columns that show it. Profiles had figures of such columns once."""
        shown = [n for n in _ABOUT.get(table.name, ()) if n in columns]
        erased = sorted(
            f"{t.contract.name}.{n}"
            for t in self.wanted.catalog.tables.values()
            if t.contract.entity
            for n, c in t.contract.columns.items()
            if c.erase
        )
        if not (shown and erased and self.wanted.journal.records):
            return "", []
        names, only = "_raw_table, _load_date", ""
        if table.name == "gold.profile_drift":
            # A verdict is about loads put together, so its day says too little; one alone repeats values.
            names, only = "_raw_table", "measure = 'new_values' and coalesce(value, 0) > 0 and "
        return (
            f"({only}({names}) in (select ({names}) from _forgotten_records) "
            f"and concat(entity, '.', column_name) in ({', '.join(map(_quoted, erased))}))"
        ), shown

    def _ids(self, columns: Mapping[str, str], table: _Table) -> list[str]:
        """Columns in which ids of the person may stand, where these are personal themselves."""
        personal = table.personal(columns)
        return [n for n, t in columns.items() if t == "VARCHAR" and n not in personal] if self.stand_ins else []

    def _columns(self, path: Path) -> dict[str, str]:
        return {n: t for n, t, *_ in self.con.execute(f"describe select * from read_parquet({_path(path)})").fetchall()}


def _path(path: Path) -> str:
    return _quoted(str(path))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
