"""A copy of the published snapshots in an object store, for readers elsewhere.

`mirror` brings the current snapshot there; it writes nothing here. Below the URL:

    snapshots/<id>/manifest.json, snapshots/<id>/<layer>/<table>.parquet     as in the published folder
    current.json                                                             which snapshot is current

An object is written whole or not at all, and there is no rename and no link: so a snapshot's manifest comes after its
tables, `current.json` after that, and a table that did not change is copied within the store. Whoever reads
`current.json` therefore always finds a whole snapshot. Whatever stops a mirror leaves the one before in force, and the
next one goes on where it stopped. `restricted/` stays here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ecommerce_platform.disk import fingerprint
from ecommerce_platform.errors import InputError, PlatformError, SettingsError
from ecommerce_platform.object_store import Entry, ObjectStore, each
from ecommerce_platform.publishing.publish import alone, as_published, superseded
from ecommerce_platform.reading.snapshots import FORMAT, current_snapshot, read_manifest, snapshot_time

CURRENT = "current.json"
_SNAPSHOTS = "snapshots"
#: What a table's entry in the manifest says of its content; the same there and here is the same file.
_CONTENT = ("version", "columns", "hashed", "bytes", "sha256")

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Mirrored:
    """What was done to the copy."""

    url: str
    snapshot: str
    #: Tables whose files were brought there, and those whose files were copied within the store.
    uploaded: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    #: Bytes brought there.
    size: int = 0
    #: The snapshot was there already and is the current one.
    unchanged: bool = False
    #: Snapshots removed because newer ones took their place.
    removed: tuple[str, ...] = ()


def mirror(
    published: Path,
    url: str,
    *,
    keep: int = 10,
    now: datetime | None = None,
    progress: Progress | None = None,
    log: logging.Logger | Any = _log,
) -> Mirrored:
    """Makes the current snapshot of `published` the current one in an object store.

    One mirror works at a time; others wait. The next publish is not kept waiting.

    Args:
        published: the folder of snapshots.
        url: `az://container/prefix` or `s3://bucket/prefix`; belongs to one source.
        keep: how many snapshots stay there, at least 1; besides, none goes within an hour of having been current.
        now: the present (tests).
        progress: called with table, number of the table, number of tables.
        log: where waiting is told, and what could not be removed.

    Raises:
        SettingsError: another source's snapshots are there; access is refused.
        PassingError: the store cannot be reached.
        InputError: nothing is published; there is no such container; a newer snapshot is there.
    """
    with alone(published, ".mirror.lock", log):
        # Looked up here: who waited mirrors what is current now.
        return _Mirror(current_snapshot(published), ObjectStore(url), progress, log).work(
            keep, now or datetime.now(UTC)
        )


def verify_copy(url: str, scratch: Path) -> dict[str, dict[str, str]]:
    """Compares every object of every whole snapshot in a store with its manifest, by bringing it here once.

    Args:
        url: of the copies.
        scratch: room for the largest file.

    Returns:
        Snapshot → object → what is wrong with it; a snapshot without a fault is empty.

    Raises:
        PassingError: the store cannot be reached.
    """
    store, found = ObjectStore(url), {}
    there = store.objects(_SNAPSHOTS)
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="verify-", dir=scratch) as folder:
        for name in sorted(n for n in there if n.endswith("/manifest.json") and snapshot_time(n.split("/")[1])):
            prefix = name.removesuffix("manifest.json")
            wrong: dict[str, str] = {}
            for entry in json.loads(store.read(name) or b"{}").get("tables", {}).values():
                if why := _fault(store, prefix + entry["file"], there, entry, Path(folder) / "file"):
                    wrong[prefix + entry["file"]] = why
            found[prefix.split("/")[1]] = wrong
    return found


def _fault(
    store: ObjectStore, name: str, there: Mapping[str, Entry], entry: Mapping[str, Any], file: Path
) -> str | None:
    if name not in there:
        return "it is missing"
    if there[name].size != entry["bytes"]:
        return f"{there[name].size:,} bytes instead of {entry['bytes']:,}"
    if not entry.get("sha256"):
        return None
    store.download(name, file, there[name].size)
    return None if fingerprint(file) == entry["sha256"] else "its content is not what was published"


class _Mirror:
    """One attempt, with the store to itself."""

    def __init__(self, folder: Path, store: ObjectStore, progress: Progress | None, log: Any) -> None:
        self.folder, self.store, self.progress, self.log = folder, store, progress, log
        self.manifest = {**read_manifest(folder), "restricted": {}}  # what is in clear stays here
        self.name = str(self.manifest["snapshot"])
        self.there = store.objects(_SNAPSHOTS)
        self.before = self._current()

    def work(self, keep: int, now: datetime) -> Mirrored:
        """Brings what is missing, switches, removes what is no longer kept."""
        done = Mirrored(self.store.url, self.name, unchanged=self.before.get("snapshot") == self.name and self._whole())
        if not done.unchanged:
            done = self._bring(done)
            self._switch()
        return replace(done, removed=self._remove(keep, now))

    def _current(self) -> dict[str, Any]:
        """The manifest of the snapshot that is current there; empty when there is none, or it is damaged."""
        where = f"{self.store.url}/{CURRENT}"
        text = self.store.read(CURRENT)
        if text is None:
            return {}
        try:
            current = json.loads(text)
            name, source = str(current["snapshot"]), str(current["source"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "this is not what the platform writes there",
                where=where,
                fix="set ECOMMERCE_PUBLISH_URL to a prefix of its own",
            ) from None
        if source != self.manifest["source"]:
            raise SettingsError(
                f"the snapshots there belong to the source {source!r}, not {self.manifest['source']!r}",
                where=self.store.url,
                fix="set ECOMMERCE_PUBLISH_URL to a prefix of its own for each source",
            )
        if name > self.name:
            raise InputError(
                f"a newer snapshot is current there ({name}; here it is {self.name}), so it stays",
                where=where,
                fix="does another installation publish to the same place? Give each a prefix of its own, or remove this "
                "object if that one is given up",
            )
        try:
            manifest: dict[str, Any] = json.loads(self.store.read(f"{_SNAPSHOTS}/{name}/manifest.json") or b"{}")
        except ValueError:
            manifest = {}
        return manifest or {"snapshot": name}

    def _whole(self) -> bool:
        prefix = f"{_SNAPSHOTS}/{self.name}/"
        return f"{prefix}manifest.json" in self.there and all(
            self._is_there(prefix + entry["file"], entry) for entry in self.manifest["tables"].values()
        )

    def _is_there(self, name: str, entry: Mapping[str, Any]) -> bool:
        found = self.there.get(name)
        return found is not None and found.size == entry["bytes"]

    def _bring(self, done: Mirrored) -> Mirrored:
        tables = self.manifest["tables"]
        prefix = f"{_SNAPSHOTS}/{self.name}/"
        # What a mirror that was stopped has brought is not brought again: objects are whole, and a name is one content.
        missing = [t for t, entry in tables.items() if not self._is_there(prefix + entry["file"], entry)]
        copied = [t for t in missing if self._same(t)]
        uploaded = [t for t in missing if t not in copied]
        count = 0

        def bring(table: str) -> None:
            nonlocal count
            file = tables[table]["file"]
            if table in copied:
                self.store.copy(
                    f"{_SNAPSHOTS}/{self.before['snapshot']}/{self.before['tables'][table]['file']}", prefix + file
                )
            else:
                as_published(self.folder, tables[table])
                self.store.upload(self.folder / file, prefix + file)
            count += 1
            if self.progress:
                self.progress(table, count, len(missing))

        each(bring, missing, lambda table: 0 if table in copied else tables[table]["bytes"])
        self.there = self.store.objects(_SNAPSHOTS)
        for entry in tables.values():
            if not self._is_there(prefix + entry["file"], entry):
                raise InputError(
                    "is not there as it was brought there",
                    where=f"{self.store.url}/{prefix}{entry['file']}",
                    fix="does anything else write or remove there? `ecommerce publish` tries again",
                )
        return replace(
            done, uploaded=tuple(uploaded), copied=tuple(copied), size=sum(tables[t]["bytes"] for t in uploaded)
        )

    def _same(self, table: str) -> bool:
        """Whether the snapshot that is current there has the same file of a table."""
        mine, theirs = self.manifest["tables"][table], self.before.get("tables", {}).get(table)
        if not theirs or mine["version"] is None or self.before.get("format") != FORMAT:
            return False
        if any(mine[what] != theirs.get(what) for what in _CONTENT):
            return False
        if mine["hashed"] and self.manifest["hash_key"] != self.before.get("hash_key"):
            return False
        return self._is_there(f"{_SNAPSHOTS}/{self.before['snapshot']}/{theirs['file']}", theirs)

    def _switch(self) -> None:
        manifest = f"{_SNAPSHOTS}/{self.name}/manifest.json"
        self.store.write(manifest, json.dumps(self.manifest, indent=2, ensure_ascii=False).encode())
        self.there[manifest] = Entry(0, "", datetime.now(UTC))
        current = {
            "snapshot": self.name,
            "manifest": manifest,
            "source": self.manifest["source"],
            "published_at": self.manifest["published_at"],
        }
        self.store.write(CURRENT, json.dumps(current, indent=2).encode())

    def _remove(self, keep: int, now: datetime) -> tuple[str, ...]:
        """Removes old snapshots, and what mirrors that were stopped have left of others than the current one."""
        objects: dict[str, list[str]] = {}
        for name in self.there:
            objects.setdefault(name.split("/")[1], []).append(name)
        whole = [name for name in objects if f"{_SNAPSHOTS}/{name}/manifest.json" in self.there and snapshot_time(name)]
        gone = superseded(whole, self.name, keep, now, self._switched)
        left = [name for name in objects if name not in whole and snapshot_time(name)]
        removed = []
        for name in [*gone, *left]:
            manifest = f"{_SNAPSHOTS}/{name}/manifest.json"
            try:
                # The manifest first: what has one is whole.
                self.store.remove([manifest] if manifest in self.there else [])
                self.store.remove(objects[name])
            except PlatformError as error:  # the new one is in force all the same, and the next mirror tries again
                self.log.warning(f"the old snapshot {name} could not be removed: {error}")
                continue
            removed.append(name)
        return tuple(name for name in removed if name in gone)

    def _switched(self, name: str) -> datetime | None:
        """When a snapshot became the current one there, which may be long after it was read."""
        modified = self.there[f"{_SNAPSHOTS}/{name}/manifest.json"].modified
        return modified if isinstance(modified, datetime) else snapshot_time(name)
