"""Publishing: Parquet per table into a new folder, then one atomic switch of `current`.

Dashboards, the API, notebooks and `ecommerce sql` read what is published; they never open the warehouse file.
Columns a contract marks `pii` are published as keyed hashes: equal values stay equal, the values stay here.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.errors import InputError, SettingsError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEY_FILE = ".hash_key"


@dataclass(frozen=True)
class Snapshot:
    """One published state of all tables."""

    id: str
    folder: Path
    tables: dict[str, int]


def publish(
    con: DuckDBPyConnection,
    catalog: Catalog,
    published: Path,
    source: str,
    *,
    hash_key: str | None = None,
    now: datetime | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Snapshot:
    """Writes every silver, gold and ml table of the warehouse to a new snapshot and makes it the current one.

    All tables are read in one transaction, so a snapshot is one consistent state. Until the switch, readers see the
    previous snapshot; a publish that dies leaves only a folder that nothing points to.

    Args:
        con: a connection to the warehouse.
        catalog: which columns are personal data.
        published: the folder of snapshots; belongs to one source.
        source: name of the source.
        hash_key: key for hashing personal data; default: one made once and kept beside the snapshots.
        now: time of the snapshot's id (tests).
        progress: called with table, number of the table, number of tables.

    Raises:
        SettingsError: the folder belongs to another source.
        InputError: there is nothing to publish yet.
    """
    _own(published, source)
    key = hash_key or _own_hash_key(published)
    now = now or datetime.now(UTC)
    name = now.strftime("%Y%m%dT%H%M%S%fZ")
    folder, building = published / "snapshots" / name, published / "snapshots" / f".building-{name}"
    tables = con.execute(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema in ('silver', 'gold', 'ml') order by 1"
    ).fetchall()
    known = [t for (t,) in tables if t in catalog.tables]
    if not any(t.startswith("gold.") for t in known):
        raise InputError("there is nothing to publish yet", fix="run `ecommerce build` first")
    building.mkdir(parents=True)
    manifest: dict[str, Any] = {"snapshot": name, "source": source, "published_at": now.isoformat(), "tables": {}}
    try:
        con.begin()
        for number, table in enumerate(known, 1):
            if progress:
                progress(table, number, len(known))
            contract = catalog.contract(table)
            target = building / contract.layer / f"{contract.name}.parquet"
            target.parent.mkdir(exist_ok=True)
            row = con.execute(
                f"copy ({_select(contract)}) to '{_text(str(target))}' (format parquet, compression zstd)",
                {"key": key} if any(c.pii for c in contract.all_columns.values()) else None,
            ).fetchone()
            manifest["tables"][table] = {
                "rows": int(row[0]) if row else 0,
                "file": f"{contract.layer}/{contract.name}.parquet",
                "columns": {n: c.type for n, c in contract.all_columns.items()},
                "hashed": [n for n, c in contract.all_columns.items() if c.pii],
            }
        con.commit()
        (building / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        os.rename(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    switch(published, name)
    return Snapshot(name, folder, {t: entry["rows"] for t, entry in manifest["tables"].items()})


def switch(published: Path, name: str) -> None:
    """Points `current` at the snapshot `name` in one step: a reader sees the old or the new one, never neither."""
    link = published / f".current-{secrets.token_hex(4)}"
    link.symlink_to(Path("snapshots") / name)
    os.replace(link, published / "current")


def current_snapshot(published: Path) -> Path:
    """Folder of the current snapshot.

    Raises:
        InputError: nothing is published yet.
    """
    link = published / "current"
    if not (link / "manifest.json").is_file():
        raise InputError(
            "nothing is published yet", where=published, fix="run `ecommerce build` and `ecommerce publish`"
        )
    return link.resolve()


def open_snapshot(folder: Path) -> DuckDBPyConnection:
    """An in-memory DuckDB with a view per published table (`gold.kpi_summary` …); it never touches the warehouse."""
    import duckdb

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    con = duckdb.connect(":memory:")
    for table, entry in manifest["tables"].items():
        schema, name = table.split(".")
        con.execute(f"create schema if not exists {schema}")
        con.execute(
            f"create view {schema}.{quote(name)} as select * from read_parquet('{_text(str(folder / entry['file']))}')"
        )
    return con


def _select(contract: Contract) -> str:
    columns = ", ".join(
        f"case when {quote(n)} is not null then sha256($key || cast({quote(n)} as varchar)) end as {quote(n)}"
        if c.pii
        else quote(n)
        for n, c in contract.all_columns.items()
    )
    return f"select {columns} from {contract.layer}.{quote(contract.name)}"


def _own_hash_key(published: Path) -> str:
    """The key made for this folder when it was first published to, readable by its owner alone."""
    path = published / _KEY_FILE
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32) + "\n")
    return path.read_text(encoding="utf-8").strip()


def _own(published: Path, source: str) -> None:
    published.mkdir(parents=True, exist_ok=True)
    owner = published / ".source"
    if not owner.exists():
        owner.write_text(source + "\n", encoding="utf-8")
    elif (recorded := owner.read_text(encoding="utf-8").strip()) != source:
        raise SettingsError(
            f"this published folder belongs to the source {recorded!r}, not {source!r}",
            where=published,
            fix=f"set ECOMMERCE_DATA_DIR to another folder, or ECOMMERCE_SOURCE={recorded}",
        )


def _text(path: str) -> str:
    return path.replace("'", "''")
