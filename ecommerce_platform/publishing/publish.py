"""Publishing: Parquet per table into a new folder, then one atomic switch of `current`.

A snapshot is one state of all tables: they are read in one transaction, and not while tables lag behind what they
are made from. Tables that did not change are hard links into the snapshot before, so a snapshot costs what changed.
Columns a contract marks `pii` are published as keyed hashes: equal values stay equal. The values themselves are written, for
gold tables with a key of one column, to the snapshot's `restricted/`, which its owner alone reads and no mirror copies.
How snapshots are read is in `reading/snapshots.py`; which state a table is in, in `changes.py`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ecommerce_platform.contracts.catalog import Catalog
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.contracts.ddl import quote
from ecommerce_platform.disk import fingerprint, open_the_way, open_to_group, sync
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.reading.snapshots import (
    FORMAT,
    SnapshotInfo,
    current_snapshot,
    find_snapshot,
    read_manifest,
    snapshot_folders,
    snapshot_id,
    snapshot_time,
    verify,
)
from ecommerce_platform.warehouse.changes import TableVersion, behind, table_versions
from ecommerce_platform.warehouse.connection import process_name
from ecommerce_platform.warehouse.transaction import transaction

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: How long a snapshot that is no longer the current one is left to those who opened it.
READERS_TIME = timedelta(hours=1)
#: Seconds between two looks at whether tables still lag; every look keeps writers out for a moment.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
#: Seconds between two log lines about the same wait.
_REPEAT_LOG = 60.0

#: Rows of a Parquet row group where single rows are looked up.
_SMALL_GROUP = 16_384

_KEY_FILE = ".hash_key"
#: What the group may not read of a snapshot.
_CLOSED = ("restricted",)
_BUILDING, _REMOVING, _LINK = ".building-", ".removing-", ".current-"

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


class Gate(Protocol):
    """What decides whether a state of the tables may be published (`quality/verdicts.py`)."""

    def passes(self, con: DuckDBPyConnection) -> bool:
        """Whether the state that `con` sees may be published; False if it was not evaluated yet. Raises a CheckError."""

    def evaluate(self, *, log: Any) -> object:
        """Evaluates the tables as they are, without a connection being held."""


@dataclass(frozen=True)
class Snapshot:
    """One published state of all tables."""

    id: str
    folder: Path
    #: Rows by table.
    tables: dict[str, int]
    #: Tables whose files are hard links into the snapshot before.
    linked: tuple[str, ...] = ()
    #: Nothing differs from what was current, so that stays and no snapshot was made; `id` and `folder` are its.
    unchanged: bool = False
    #: Tables published although they lag behind what they are made from, with what they lag behind.
    lagging: dict[str, list[str]] = field(default_factory=dict)
    #: Snapshots removed because newer ones took their place.
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishOptions:
    """How a snapshot is made.

    Args:
        hash_key: key for hashing personal data; default: one made once and kept beside the snapshots.
        run_id: the run that publishes, for the manifest.
        keep: how many snapshots stay, at least 1.
        wait_seconds: how long to wait for tables that lag behind what they are made from.
        force: publish although tables lag, and whatever the gate says; the manifest names tables that lag.
        gate: evaluates the tables before they are published; a state that it does not let pass is not.
        about: what else there is to tell of tables (`orchestration/about.py`): table → its part of the manifest's `about`.
        even_unchanged: make a snapshot although nothing differs from the current one.
        now: time of the snapshot (tests); default: the moment when the tables are read.
        progress: called with table, number of the table, number of tables.
        log: where waiting is told.
    """

    hash_key: str | None = None
    run_id: str | None = None
    keep: int = 10
    wait_seconds: float = 0.0
    force: bool = False
    gate: Gate | None = None
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    even_unchanged: bool = False
    now: datetime | None = None
    progress: Progress | None = None
    log: logging.Logger | Any = _log


def publish(
    connect: Callable[[], AbstractContextManager[DuckDBPyConnection]],
    catalog: Catalog,
    published: Path,
    source: str,
    options: PublishOptions = PublishOptions(),
) -> Snapshot:
    """Makes the state of every silver, gold and ml table of the warehouse the current snapshot.

    All tables are read in one transaction, so a snapshot is one consistent state. Until the switch, readers see the
    previous snapshot; a publish that dies leaves only a folder that nothing points to, which the next one removes (or,
    if it dies right before the switch, a complete snapshot that merely is not the current one).
    One publish works at a time; others wait. The warehouse is held only while tables are read.

    Args:
        connect: opens the warehouse, as `Warehouse.connect` does; closed again while this waits.
        catalog: which columns are personal data, what a table means.
        published: the folder of snapshots; belongs to one source.
        source: name of the source.
        options: how.

    Raises:
        SettingsError: the folder belongs to another source.
        CheckError: the tables break business rules that block.
        InputError: there is nothing to publish yet; tables still lag after the wait; a table is not what its
            contract says.
    """
    (published / "snapshots").mkdir(parents=True, exist_ok=True)
    patience = _Patience(options.wait_seconds, options.log)
    hashes: dict[tuple[int, int], str] = {}
    while True:
        with alone(published, ".lock", options.log):
            own(published, source, "ECOMMERCE_DATA_DIR")
            tidy(published)
            attempt = _Attempt(catalog, published, source, options, hashes)
            try:
                with connect() as con:
                    attempt.read(con)
                if attempt.manifest:
                    return attempt.put_in_force()
            finally:
                shutil.rmtree(attempt.building, ignore_errors=True)
        if attempt.unevaluated:  # and again, if they changed while they were evaluated
            assert options.gate
            options.gate.evaluate(log=options.log)
        else:
            patience.wait(attempt.late)


class _Patience:
    """How long a publish waits for tables that lag: longer from look to look, and not for ever."""

    def __init__(self, seconds: float, log: Any) -> None:
        self.seconds, self.log = seconds, log
        self.started, self.pause, self.said = time.monotonic(), _FIRST_PAUSE, -_REPEAT_LOG

    def wait(self, late: Mapping[str, Sequence[str]]) -> None:
        """Waits until it is time to look again.

        Raises:
            InputError: it has been long enough.
        """
        waited = time.monotonic() - self.started
        if waited >= self.seconds:
            raise InputError(
                f"{_behind(late)}{f' (after waiting {waited:.0f} s)' if self.seconds else ''}; "
                "the current snapshot stays",
                fix="run `ecommerce build`, or publish all the same with `ecommerce publish --force`",
            )
        if waited - self.said >= _REPEAT_LOG:
            self.log.info(f"waiting up to {self.seconds:.0f} s for a build ({waited:.0f} s so far): {_behind(late)}")
            self.said = waited
        time.sleep(min(self.pause, self.seconds - waited))
        self.pause = min(self.pause * 1.5, _LONGEST_PAUSE)


def restore(published: Path, snapshot: str, log: logging.Logger | Any = _log) -> SnapshotInfo:
    """Makes an earlier snapshot the current one again, in one step; none is removed.

    The next publish takes its place, so whoever wants it to stay stops publishing first.

    Args:
        published: the folder of snapshots.
        snapshot: which: an id, its beginning, or a local time, as `find_snapshot` takes them.
        log: where waiting is told.

    Raises:
        InputError: there is no such snapshot, or it is damaged.
    """
    with alone(published, ".lock", log):
        found = find_snapshot(published, snapshot)
        for table, why in verify(found.folder).damaged.items():
            raise InputError(f"the snapshot is damaged: {table}: {why}", where=found.folder, fix="take another")
        switch(published, found.id)
    return found


def lagging(con: DuckDBPyConnection, catalog: Catalog) -> dict[str, list[str]]:
    """Tables that were made from an older version of another table than that table now has, with those others.

    In the middle of a run that is how things are; a snapshot then would show two states. Tables whose contract says
    `cadence: weekly` are left out: they are meant to lag.
    """
    there = set(_tables(con)) & catalog.tables.keys()  # others are not published either
    return {
        table: inputs
        for table, inputs in behind(con).items()
        if table in there and catalog.contract(table).tags.get("cadence") != "weekly"
    }


class _Attempt:
    """One attempt at a snapshot: read the tables with the warehouse open, put them in force with it closed."""

    def __init__(
        self,
        catalog: Catalog,
        published: Path,
        source: str,
        options: PublishOptions,
        hashes: dict[tuple[int, int], str],
    ) -> None:
        self.catalog, self.published, self.source, self.options = catalog, published, source, options
        self.key, log = options.hash_key or _own_hash_key(published), options.log
        self.building = published / "snapshots" / f"{_BUILDING}{os.getpid()}"
        #: What the snapshot holds; empty while nothing was read, the current one's when nothing differs from that.
        self.manifest: dict[str, Any] = {}
        self.unchanged = False
        #: Tables that lag behind what they are made from, with what they lag behind.
        self.late: dict[str, list[str]] = {}
        #: Whether the gate must evaluate the tables first.
        self.unevaluated = False
        #: When the tables were read.
        self.now = datetime.now(UTC)
        #: The current snapshot, which unchanged tables are linked from.
        self.previous: Path | None = None
        self.before: dict[str, Any] = {}
        #: Tables whose file in the current snapshot is not what was published; found before the warehouse is opened.
        self.damaged: dict[str, str] = {}
        try:
            self.previous = current_snapshot(published)
            self.before = read_manifest(self.previous)
            self.damaged = verify(self.previous, hashes).damaged
        except InputError as error:
            if self.previous:  # a damaged snapshot must not keep a new one from being published
                log.warning(f"all tables are written anew: {error}")
        for table, why in self.damaged.items():
            log.warning(f"{table} in the snapshot {self.before['snapshot']} is damaged and written anew: {why}")

    def read(self, con: DuckDBPyConnection) -> None:
        """Reads the tables into the building folder, all in one state, if that may be published."""
        force, gate = self.options.force, self.options.gate
        with transaction(con):
            self.late = lagging(con, self.catalog)
            self.unevaluated = not (force or self.late or gate is None or gate.passes(con))
            if not self.unevaluated and (force or not self.late):
                # The time of reading, not of the call: the warehouse may have been waited for.
                self.now = (self.options.now or datetime.now(UTC)).astimezone(UTC)
                self._read_tables(con)

    def _put(self, con: DuckDBPyConnection, table: str, entry: dict[str, Any], *, unchanged: bool) -> None:
        """Writes a table's file, or takes over that of the previous snapshot."""
        target = self.building / entry["file"]
        target.parent.mkdir(exist_ok=True)
        if unchanged:
            self._take_over(table, entry, target)
        else:
            entry["rows"] = self._write(con, self.catalog.contract(table), target)
        entry["bytes"] = target.stat().st_size

    def _read_tables(self, con: DuckDBPyConnection) -> None:
        """Writes or links every table."""
        known = [t for t in _tables(con) if t in self.catalog.tables]
        if not any(t.startswith("gold.") for t in known):
            raise InputError("there is nothing to publish yet", fix="run `ecommerce build` first")
        versions = table_versions(con)
        entries = {t: _entry(self.catalog.contract(t), versions.get(t)) for t in known}
        same = {t for t in known if self._same_content(t, entries[t])}
        if not self.options.even_unchanged and self._nothing_differs(entries, same):
            self.manifest, self.unchanged = self.before, True
            return
        self._nothing_is_lost(known)
        self.building.mkdir()
        for number, table in enumerate(known, 1):
            if self.options.progress:
                self.options.progress(table, number, len(known))
            self._put(con, table, entries[table], unchanged=table in same)
        restricted = self._restrict(con, known, same)
        moment = self._free_moment()
        self.manifest = {
            "format": FORMAT,
            "snapshot": snapshot_id(moment),
            "source": self.source,
            "published_at": moment.isoformat(),
            "run_id": self.options.run_id,
            "previous": self.previous.name if self.previous else None,
            "hash_key": key_fingerprint(self.key),
            "changed": [t for t in known if t not in same],
            "lagging": self.late,
            "loads": _loads(con),
            "tables": entries,
            "restricted": restricted,
            "about": self.options.about,
        }

    def _take_over(self, table: str, entry: dict[str, Any], target: Path) -> None:
        """Links a table's file in the current snapshot."""
        assert self.previous
        before = self.before["tables"][table]
        entry["rows"], entry["linked"] = before["rows"], _link(self.previous / before["file"], target)
        # A copy is looked at like what is written.
        entry["sha256"] = before["sha256"] if entry["linked"] else None

    def _restrict(self, con: DuckDBPyConnection, tables: Sequence[str], same: Collection[str]) -> dict[str, Any]:
        """Writes or links what is personal in clear; gives table → what the manifest says of its file."""
        found = {}
        for table in tables:
            contract = self.catalog.contract(table)
            personal = _kept_in_clear(contract)
            if not personal:
                continue
            folder = self.building / _CLOSED[0]
            folder.mkdir(mode=0o700, exist_ok=True)
            file = f"{_CLOSED[0]}/{contract.name}.parquet"
            before = self.before.get("restricted", {}).get(table) if table in same else None
            if before and self.previous:
                entry = {**before, "linked": _link(self.previous / before["file"], self.building / file)}
            else:
                columns = ", ".join(map(quote, [*contract.key, *personal]))
                con.execute(
                    f"copy (select {columns} from {contract.layer}.{quote(contract.name)} order by {quote(contract.key[0])}) "
                    f"to '{_text(str(self.building / file))}' (format parquet, compression zstd, row_group_size {_SMALL_GROUP})"
                )
                entry = {"key": list(contract.key), "columns": personal, "linked": False, "sha256": None}
            found[table] = {**entry, "file": file, "bytes": (self.building / file).stat().st_size}
        return found

    def _nothing_is_lost(self, known: Sequence[str]) -> None:
        """That every table that readers have now, and that the platform still knows, is in the warehouse."""
        lost = sorted((self.before.get("tables", {}).keys() & self.catalog.tables.keys()) - set(known))
        if lost and not self.options.force:
            raise InputError(
                f"the warehouse has no {', '.join(lost)}, which readers have now; the current snapshot stays",
                where=self.published,
                fix="`ecommerce build` makes what is missing; to publish without, `ecommerce publish --force`",
            )

    def put_in_force(self) -> Snapshot:
        """Makes what was read durable, switches to it and removes what is no longer kept."""
        manifest = self.manifest
        name = manifest["snapshot"]
        folder = self.published / "snapshots" / name
        if not self.unchanged:
            for entry in (*manifest["tables"].values(), *manifest["restricted"].values()):
                file = self.building / entry["file"]
                entry["sha256"] = entry["sha256"] or fingerprint(file)
            text = json.dumps(manifest, indent=2, ensure_ascii=False)
            (self.building / "manifest.json").write_text(text, encoding="utf-8")
            for path in (*self.building.rglob("*"), self.building):
                sync(path)
            open_the_way(self.published.parent)
            for way in (self.published, folder.parent):  # the key in it stays the owner's alone
                open_the_way(way, listed=True)
            open_to_group(self.building, _CLOSED)
            os.rename(self.building, folder)
            sync(folder.parent)
            switch(self.published, name)
            self._repair(folder)
        removed = _remove(
            [f.name for f in snapshot_folders(self.published)],
            self.published,
            self.options.keep,
            self.now,
            self.options.log,
        )
        entries = manifest["tables"]
        return Snapshot(
            id=name,
            folder=folder,
            tables={t: entry["rows"] for t, entry in entries.items()},
            linked=tuple(t for t, entry in entries.items() if self.unchanged or entry["linked"]),
            unchanged=self.unchanged,
            lagging=manifest["lagging"],
            removed=removed,
        )

    def _repair(self, folder: Path) -> None:
        """Gives earlier snapshots that share a damaged file the one that was written in its place, with its hash."""
        for table in self.damaged.keys() & self.manifest["tables"].keys():
            assert self.previous
            before, entry = self.before["tables"][table], self.manifest["tables"][table]
            if not (before.get("sha256") and self._same_values(before, entry)):
                continue  # what was in it is no longer in the warehouse
            for other in snapshot_folders(self.published):
                if other != folder:
                    _replace_file(other, table, before, entry, folder)

    def _same_content(self, table: str, entry: dict[str, Any]) -> bool:
        """Whether the current snapshot's file of the table is what would be written now."""
        before = self.before.get("tables", {}).get(table)
        if not before or not self._same_values(before, entry):
            return False
        if _kept_in_clear(self.catalog.contract(table)) and table not in self.before.get("restricted", {}):
            return False  # from before what is personal was published in clear, too
        # One without a hash is from before they were kept, and written once more so that it has one.
        return table not in self.damaged and bool(before.get("sha256"))

    def _same_values(self, before: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
        """Whether a table is what it was when the current snapshot was published."""
        if entry["version"] is None or self.before.get("format") != FORMAT:
            return False
        if (before["version"], list(before["columns"].items()), before["hashed"]) != (
            entry["version"], list(entry["columns"].items()), entry["hashed"],
        ):  # fmt: skip
            return False
        return not entry["hashed"] or bool(self.before["hash_key"] == key_fingerprint(self.key))

    def _nothing_differs(self, entries: dict[str, dict[str, Any]], same: set[str]) -> bool:
        """Whether a new snapshot would tell its readers nothing new: neither in its tables nor about them."""
        before = self.before.get("tables", {})
        about = ("description", "key")
        return (
            same == set(entries) == set(before)
            and self.before["lagging"] == self.late
            and all(before[t][what] == entry[what] for t, entry in entries.items() for what in about)
            and (not self.options.about or _lasting(self.before.get("about", {})) == _lasting(self.options.about))
        )

    def _write(self, con: DuckDBPyConnection, contract: Contract, target: Path) -> int:
        import duckdb

        try:
            row = con.execute(
                f"copy ({_select(contract)}) to '{_text(str(target))}' (format parquet, compression zstd{_groups(contract)})",
                {"key": self.key} if any(c.pii for c in contract.all_columns.values()) else None,
            ).fetchone()
        except duckdb.BinderException as error:
            raise InputError(
                f"{contract.table} does not have the columns of its contract: {str(error).splitlines()[0]}",
                where=contract.path,
                fix="run `ecommerce build`; the contract has changed since the table was built",
            ) from None
        return int(row[0]) if row else 0

    def _free_moment(self) -> datetime:
        moment = self.now
        while (self.published / "snapshots" / snapshot_id(moment)).exists():
            moment += timedelta(microseconds=1)
        return moment


def switch(published: Path, name: str) -> None:
    """Points `current` at the snapshot `name` in one step: a reader sees the old or the new one, never neither."""
    link = published / f"{_LINK}{secrets.token_hex(4)}"
    link.symlink_to(Path("snapshots") / name)
    os.replace(link, published / "current")
    sync(published)


def superseded(
    names: Sequence[str],
    current: str | None,
    keep: int,
    now: datetime,
    switched: Callable[[str], datetime | None] = snapshot_time,
) -> list[str]:
    """Which snapshots are no longer kept: neither current, nor among the newest `keep`, nor possibly still read.

    Who opened a snapshot did so while it was the current one, at the latest when the next one was published; so it
    stays for an hour from then on, which includes all that are younger than an hour.

    Args:
        names: ids of all snapshots.
        current: id of the current one.
        keep: how many stay, at least 1.
        now: the present.
        switched: when a snapshot became the current one; default: when it was read.
    """
    ordered = sorted(names)
    gone = []
    for name, following in list(pairwise(ordered))[: max(len(ordered) - max(keep, 1), 0)]:
        replaced = switched(following)
        if name != current and replaced and now - replaced >= READERS_TIME:
            gone.append(name)
    return gone


# -- the folder --------------------------------------------------------------------------------------------------


@contextmanager
def alone(published: Path, lock: str, log: Any, doing: str = "is publishing") -> Iterator[None]:
    """Holds a lock of the folder, waiting for whoever has it. The kernel frees it when its holder dies.

    Args:
        published: the folder.
        lock: name of the file that stands for the lock.
        log: told who is waited for.
        doing: what that one does.
    """
    path = published / lock
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
            name = process_name(int(holder)) if holder.isdigit() else "another process"
            log.info(f"waiting for {published}: {name} {doing}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def tidy(published: Path) -> None:
    """Removes what publishes that died have left. Only while holding the lock."""
    for link in published.glob(f"{_LINK}*"):
        link.unlink(missing_ok=True)
    for folder in (published / "snapshots").glob(f"{_REMOVING}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (published / "snapshots").glob(f"{_BUILDING}*"):
        pid = folder.name.removeprefix(_BUILDING)
        # Our own number: the lock is ours, so it is from an earlier process that had it (in containers they recur).
        if pid == str(os.getpid()) or not _alive(pid):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    import psutil

    # Anything else was left by the version before, which named its folders after the time.
    return pid.isdigit() and bool(psutil.pid_exists(int(pid)))


def _remove(names: Sequence[str], published: Path, keep: int, now: datetime, log: Any) -> tuple[str, ...]:
    current = (published / "current").resolve().name
    gone = superseded(names, current, keep, now)
    for name in gone:
        folder = published / "snapshots" / name
        try:
            # First out of everyone's sight, then file by file.
            hidden = folder.with_name(f"{_REMOVING}{name}")
            os.rename(folder, hidden)
            shutil.rmtree(hidden)
        except OSError as error:  # what was published stands all the same, and the next publish tries again
            log.warning(f"the old snapshot {name} could not be removed: {error}")
    return tuple(gone)


def own(folder: Path, source: str, setting: str) -> None:
    """Makes the folder, which `setting` names, that of a source.

    Raises:
        SettingsError: it belongs to another one.
    """
    owner = folder / ".source"
    if not owner.exists():
        write_whole(owner, source, 0o644)
    elif (recorded := owner.read_text(encoding="utf-8").strip()) != source:
        raise SettingsError(
            f"this published folder belongs to the source {recorded!r}, not {source!r}",
            where=folder,
            fix=f"set {setting} to another folder, or ECOMMERCE_SOURCE={recorded}",
        )


def as_published(snapshot: Path, entry: Mapping[str, Any]) -> None:
    """Sees to it that a file of a snapshot is what was published: a damaged one would take the place of a good copy.

    Raises:
        InputError: it is not.
    """
    file = snapshot / entry["file"]
    if entry.get("sha256") not in (None, fingerprint(file)):
        raise InputError("its content is not what was published", where=file, fix="`ecommerce publish` writes it anew")


def _own_hash_key(published: Path) -> str:
    """The key made for this folder when it was first published to, readable by its owner alone."""
    path = published / _KEY_FILE
    if not path.exists():
        write_whole(path, secrets.token_hex(32), 0o600)
    return path.read_text(encoding="utf-8").strip()


def read_hash_key(published: Path) -> str | None:
    """The key made for this folder; None when nothing was published with it."""
    path = published / _KEY_FILE
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def write_whole(path: Path, text: str, mode: int) -> None:
    """The file with its text or as it was, whatever happens meanwhile: half a key would be a weak one."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(handle)
    os.replace(new, path)
    sync(path.parent)


def _replace_file(folder: Path, table: str, before: Mapping[str, Any], entry: Mapping[str, Any], newest: Path) -> None:
    """Gives a snapshot the newest one's file of a table, if its own was that of `before`."""
    manifest = read_manifest(folder)
    mine = manifest["tables"].get(table)
    if not mine or mine.get("sha256") != before["sha256"]:
        return
    new = (folder / mine["file"]).with_name(f"{_LINK}{secrets.token_hex(4)}")
    new.parent.mkdir(exist_ok=True)
    _link(newest / entry["file"], new)
    mine |= {what: entry[what] for what in ("bytes", "sha256")}
    rewrite_manifest(folder, manifest)
    os.replace(new, folder / mine["file"])
    sync((folder / mine["file"]).parent)


def rewrite_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Puts another manifest in the place of a snapshot's, in one step."""
    new = folder / f"{_LINK}manifest.json"
    new.write_text(json.dumps(manifest, indent=2, ensure_ascii=False), encoding="utf-8")
    shutil.copymode(folder / "manifest.json", new)
    sync(new)
    os.replace(new, folder / "manifest.json")
    sync(folder)


def _link(source: Path, target: Path) -> bool:
    """Makes `target` a hard link, or a copy where the file system has none; says which."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        return False
    return True


# -- the tables --------------------------------------------------------------------------------------------------


def _tables(con: DuckDBPyConnection) -> list[str]:
    rows = con.execute(
        "select table_schema || '.' || table_name from information_schema.tables "
        "where table_schema in ('silver', 'gold', 'ml') order by 1"
    ).fetchall()
    return [table for (table,) in rows]


def _entry(contract: Contract, version: TableVersion | None) -> dict[str, Any]:
    """What the manifest says of a table, before it is written."""
    return {
        "rows": 0,
        "file": f"{contract.layer}/{contract.name}.parquet",
        "bytes": 0,
        "sha256": None,
        "linked": False,
        "version": version.version if version else None,
        "changed_at": version.changed_at.isoformat() if version else None,
        "description": contract.description,
        "key": list(contract.key),
        # As in the file: a hash is text, whatever was hashed.
        "columns": {n: "VARCHAR" if c.pii else c.type for n, c in contract.all_columns.items()},
        "hashed": [n for n, c in contract.all_columns.items() if c.pii],
    }


def _lasting(about: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is told of tables, without when they were built and checked: every build changes that."""
    return {
        table: {
            **{what: told for what, told in entry.items() if what != "built_at"},
            "checks": {n: {k: v for k, v in c.items() if k != "at"} for n, c in entry.get("checks", {}).items()},
        }
        for table, entry in about.items()
    }


def _loads(con: DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    """Per raw table, which loads the warehouse holds."""
    there = con.execute(
        "select count(*) from information_schema.tables where table_schema = 'bronze' and table_name = 'files'"
    ).fetchall()
    if not there[0][0]:
        return {}
    rows = con.execute(
        "select raw_table, count(distinct _load_date), min(_load_date), max(_load_date), count(*) "
        "from bronze.files group by all order by 1"
    ).fetchall()
    return {
        raw: {"days": days, "first": first.isoformat(), "newest": newest.isoformat(), "files": files}
        for raw, days, first, newest, files in rows
    }


def _select(contract: Contract) -> str:
    columns = ", ".join(
        f"case when {quote(n)} is not null then sha256($key || cast({quote(n)} as varchar)) end as {quote(n)}"
        if c.pii
        else quote(n)
        for n, c in contract.all_columns.items()
    )
    order = f" order by {quote(contract.key[0])}" if _read_by_key(contract) or _read_by_day(contract) else ""
    return f"select {columns} from {contract.layer}.{quote(contract.name)}{order}"


def _read_by_key(contract: Contract) -> bool:
    """Whether readers look up single rows by its key, a customer, say: it is sorted, in groups so small that a look reads little.

    Of a million rows of 300 bytes a look-up then takes 7 ms of processor instead of 57, and writing a tenth more.
    """
    one = contract.key[0] if len(contract.key) == 1 else ""
    return contract.layer in ("gold", "ml") and bool(one) and contract.all_columns[one].type == "VARCHAR"


def _read_by_day(contract: Contract) -> bool:
    """Whether its rows are many to a day, which its key begins with: sorted by it, a look at some weeks reads those alone."""
    return contract.layer == "gold" and len(contract.key) > 1 and contract.all_columns[contract.key[0]].type == "DATE"


def _groups(contract: Contract) -> str:
    return f", row_group_size {_SMALL_GROUP}" if _read_by_key(contract) else ""


def _kept_in_clear(contract: Contract) -> list[str]:
    """The personal columns of a table that are published in clear, too."""
    if contract.layer != "gold" or len(contract.key) != 1:
        return []
    return [name for name, column in contract.all_columns.items() if column.pii]


def key_fingerprint(key: str) -> str:
    """Tells keys apart without telling the key."""
    return sha256(f"manifest{key}".encode()).hexdigest()[:16]


def _behind(tables: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{table} lags behind {', '.join(inputs)}" for table, inputs in tables.items())


def _text(path: str) -> str:
    return path.replace("'", "''")
