"""Taking a person out of the published snapshots, here and in their copy in an object store.

In every kept snapshot the person's rows lose their personal columns, hashed ones too: the hash of an e-mail address tells
who was meant to everybody who has the address. All else stays as it was published. A file that several snapshots share is
written once and shared again; a reader who has it open keeps reading the version that it opened.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.disk import sync
from ecommerce_platform.forgetting.ledger import Journal
from ecommerce_platform.forgetting.rewrite import MARKER
from ecommerce_platform.forgetting.tables import filled, personal_columns, tell_ids, telling_columns, whose
from ecommerce_platform.warehouse.publish import alone
from ecommerce_platform.warehouse.snapshots import read_manifest, snapshot_folders, snapshot_time

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.object_store import ObjectStore

_log = logging.getLogger(__name__)

#: Files on their way into a snapshot; nothing reads them.
_NEW = ".forgetting-"


@dataclass
class Cleaned:
    """What was (or would be) done: snapshots whose files change, the files, and rows in these by table."""

    snapshots: list[str] = field(default_factory=list)
    files: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def clean_snapshots(
    published: Path,
    catalog: Catalog,
    journal: Journal,
    config: Mapping[str, Any],
    *,
    dry: bool = False,
    log: Any = _log,
) -> Cleaned:
    """Takes the person out of all snapshots of a folder. Waits for a publish; none begins meanwhile.

    Args:
        published: the folder of snapshots.
        catalog: which columns are personal.
        journal: whom to take out.
        config: DuckDB settings of the database in memory that rewrites files.
        dry: only counts.
        log: where waiting is told.

    Raises:
        InputError: a manifest is damaged.
        OSError: a file cannot be written.
    """
    done = Cleaned()
    if not (published / "snapshots").is_dir():
        return done
    with alone(published, ".lock", log), _Cleaner(catalog, journal, config) as cleaner:
        for left in published.glob(f"snapshots/*/**/{_NEW}*"):
            left.unlink()
        # By file, not by name: what snapshots share must not keep its old content under another name.
        names: dict[tuple[int, int], list[tuple[Path, str]]] = {}
        for folder in snapshot_folders(published):
            for table, entry in read_manifest(folder)["tables"].items():
                path = folder / entry["file"]
                if table in catalog.tables and path.is_file():
                    stat = path.stat()
                    names.setdefault((stat.st_dev, stat.st_ino), []).append((path, table))
        touched: set[Path] = set()
        dirty = {
            p.parents[1]
            for s in names.values()
            for p, t in s
            if _decides(t) and cleaner.rows(s[0][0], catalog.contract(t))
        }
        # What decides about other tables comes last, so that a kill leaves it to decide again.
        for shared in sorted(names.values(), key=lambda s: _decides(s[0][1])):
            path, table = shared[0]
            contract = catalog.contract(table)
            if not (rows := cleaner.rows(path, contract, all_columns=any(p.parents[1] in dirty for p, _ in shared))):
                continue
            done.files += 1
            done.rows[table] = done.rows.get(table, 0) + rows
            touched |= {p.parents[1] for p, _ in shared}
            if not dry:
                first = path.with_name(f"{_NEW}{path.name}")
                cleaner.write(path, first, contract)
                sync(first)
                for other, _ in shared[1:]:
                    new = other.with_name(f"{_NEW}{other.name}")
                    os.link(first, new)
                    os.replace(new, other)
                    sync(other.parent)
                os.replace(first, path)
                sync(path.parent)
        done.snapshots = sorted(folder.name for folder in touched)
        if not dry:
            for folder in snapshot_folders(published):
                _true_sizes(folder)
    return done


def _decides(table: str) -> bool:
    """Whether its rows say that a snapshot still holds something of the person."""
    return table.startswith("silver.")


def _true_sizes(folder: Path) -> None:
    """Makes a manifest say how large its files are."""
    manifest = read_manifest(folder)
    sizes = {
        t: (folder / e["file"]).stat().st_size for t, e in manifest["tables"].items() if (folder / e["file"]).is_file()
    }
    if all(manifest["tables"][t]["bytes"] == size for t, size in sizes.items()):
        return
    for table, size in sizes.items():
        manifest["tables"][table]["bytes"] = size
    new = folder / f"{_NEW}manifest.json"
    new.write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
    sync(new)
    os.replace(new, folder / "manifest.json")
    sync(folder)


def clean_mirror(
    published: Path,
    url: str,
    catalog: Catalog,
    journal: Journal,
    config: Mapping[str, Any],
    scratch: Path,
    *,
    dry: bool = False,
    log: Any = _log,
) -> Cleaned:
    """The same for the copy in an object store; a mirror is waited for.

    Raises:
        PlatformError: the store cannot be reached or written.
    """
    from ecommerce_platform.object_store import ObjectStore

    store, done = ObjectStore(url), Cleaned()
    scratch.mkdir(parents=True, exist_ok=True)
    published.mkdir(parents=True, exist_ok=True)
    with alone(published, ".mirror.lock", log), _Cleaner(catalog, journal, config) as cleaner:
        there = store.objects("snapshots")
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
    concerned = {
        table: entry
        for table, entry in manifest.get("tables", {}).items()
        if table in cleaner.catalog.tables and prefix + entry["file"] in there
        and cleaner.concerned(entry["columns"], table)
    }  # fmt: skip
    for table, entry in concerned.items():
        store.download(prefix + entry["file"], folder / table, there[prefix + entry["file"]].size)
    dirty = any(_decides(t) and cleaner.rows(folder / t, cleaner.catalog.contract(t)) for t in concerned)
    for table in sorted(concerned, key=_decides):
        entry = concerned[table]
        name = prefix + entry["file"]
        old, new, contract = folder / table, folder / "new.parquet", cleaner.catalog.contract(table)
        rows = cleaner.rows(old, contract, all_columns=dirty)
        if rows:
            done.files += 1
            done.rows[table] = done.rows.get(table, 0) + rows
            if not dry:
                cleaner.write(old, new, contract)
                store.upload(new, name)
        size = new.stat().st_size if rows and not dry else there[name].size
        # After a kill the file may be new and the manifest old.
        changed = changed or bool(rows) or entry["bytes"] != size
        entry["bytes"] = size if not dry else entry["bytes"]
    return changed


class _Cleaner:
    """A database in memory that looks for the person in Parquet files and writes them without."""

    def __init__(self, catalog: Catalog, journal: Journal, config: Mapping[str, Any]) -> None:
        self.catalog, self.journal, self.config = catalog, journal, config

    def __enter__(self) -> _Cleaner:
        import duckdb

        self.con: DuckDBPyConnection = duckdb.connect(":memory:", config=dict(self.config))
        tell_ids(self.con, self.journal)
        return self

    def __exit__(self, *_: object) -> None:
        self.con.close()

    def concerned(self, columns: Mapping[str, str], table: str) -> bool:
        """Whether a table with these columns can hold anything of a person."""
        contract = self.catalog.contract(table)
        return bool(personal_columns(contract, columns) and whose(columns, contract))

    def rows(self, path: Path, contract: Contract, *, all_columns: bool = False) -> int:
        """Rows of the person that hold something personal; with `all_columns` also what may be derived from it."""
        columns = self._columns(path)
        if not self.concerned(columns, contract.table):
            return 0
        looked_at = (personal_columns if all_columns else telling_columns)(contract, columns)
        row = self.con.execute(
            f"select count(*) from read_parquet(?) where {whose(columns, contract)} "
            f"and ({filled(looked_at, columns) or 'false'})",
            [str(path)],
        ).fetchone()
        return int(row[0]) if row else 0

    def write(self, path: Path, target: Path, contract: Contract) -> None:
        """Writes the file without what is personal in the person's rows; all else is as it was, in its order."""
        columns = self._columns(path)
        mine = whose(columns, contract)
        blank = {
            # What a contract requires must not be missing.
            n: f"'{MARKER}'" if contract.all_columns[n].required and columns[n] == "VARCHAR" else "null"
            for n in personal_columns(contract, columns)
        }
        instead = ", ".join(f"case when {mine} then {b} else {quote(n)} end as {quote(n)}" for n, b in blank.items())
        out = str(target).replace("'", "''")
        self.con.execute(
            f"copy (select * replace ({instead}) from read_parquet({_path(path)})) to '{out}' "
            "(format parquet, compression zstd)"
        )

    def _columns(self, path: Path) -> dict[str, str]:
        return {n: t for n, t, *_ in self.con.execute(f"describe select * from read_parquet({_path(path)})").fetchall()}


def _path(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
