"""The landing zone: a folder or a prefix in an object store that holds the drops. One seam for both.

A zone lists its drops, hands over files for a load and takes new drops. `landing` says what a drop is and how one
gets its place in a folder, `watch` which days are due; `object_store` talks to object stores.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from ecommerce_platform.contracts.source import Source
from ecommerce_platform.errors import InputError, PassingError
from ecommerce_platform.ingestion.entries import Bounds, is_folder, look_at
from ecommerce_platform.ingestion.landing import (
    Drops,
    Folder,
    Given,
    Place,
    Progress,
    RawFile,
    file_matcher,
    list_drops,
    with_exploded,
)
from ecommerce_platform.ingestion.landing import explained as reading
from ecommerce_platform.ingestion.swap import REPLACED, exchange, settled
from ecommerce_platform.object_store import Entry, ObjectStore, each, entry, explained, protocol
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: A file of this name says that the day's delivery is complete; it is no part of the delivery.
MARKER = "_SUCCESS"
#: An object of this name says that a day is being uploaded. An object store has no rename that could put a whole drop in
#: its place at once, so the day is left alone until the upload has ended.
UPLOADING = "_UPLOADING"
_REPLACED = ".replaced"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
#: With more files than this, one listing of the whole zone shows sooner than a request each that none has changed.
_MANY = 500
#: Folders for files on their way are named after the process that fetches or lands them.
_ON_ITS_WAY = "on-its-way-"
#: Files up to this size are uploaded from memory.
_SMALL = 8 << 20


class MissingZone(InputError):
    """There is no such landing zone, which is not the same as an empty one: nothing is taken back for it."""


class Zone(Place, Protocol):
    """A landing zone."""

    @property
    def where(self) -> str:
        """Its path or URL, for messages."""

    def exists(self) -> bool:
        """Whether there is such a folder, or anything below the prefix."""

    def drops(self, source: Source) -> Drops:
        """The files of every raw table in all drops; see `landing.list_drops`.

        Raises:
            MissingZone: nothing at all lies below the prefix of an object store.
            PlatformError: it cannot be listed; a folder is not a day; a file that two raw tables name.
        """

    def fetched(
        self, files: Sequence[RawFile], scratch: Path, log: Callable[[str], Any] | None = None
    ) -> AbstractContextManager[list[RawFile]]:
        """The files as they can be read from this machine, for as long as the block lasts.

        Args:
            files: what `drops` listed.
            scratch: a folder for copies, on a disk with room for them; left as it was.
            log: told what was fetched.

        Raises:
            PassingError: a file is not there any more as it was listed.
        """

    def file_system(self) -> tuple[AbstractFileSystem, str]:
        """File system and root, as `fsspec.core.url_to_fs` gives them."""

    def aside(self, source: Source) -> list[dict[str, list[RawFile]]]:
        """Files of raw tables that are no drop any more: for each replaced one, raw table → files with its day."""

    def exchange(self, file: RawFile, content: bytes) -> bool:
        """Gives a file another content, whole or not at all; False if it is not the listed one any more.

        Raises:
            PlatformError: it cannot be written.
        """


def open_zone(settings: Settings) -> Zone:
    """The landing zone of these settings; nothing is opened or listed yet."""
    if settings.raw_url and protocol(settings.raw_url):
        return StoreZone(settings.raw_url, settings.scratch)
    return LocalZone(settings.raw, settings.follow_links)


class LocalZone(Folder):
    """A folder on this machine."""

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.raw_dir)

    def exists(self) -> bool:
        """Whether there is such a folder."""
        return self.raw_dir.is_dir()

    def drops(self, source: Source) -> Drops:
        """What lies in the folder."""
        return list_drops(self.raw_dir, source, self.follow_links)

    def fetched(
        self, files: Sequence[RawFile], scratch: Path, log: Callable[[str], Any] | None = None
    ) -> AbstractContextManager[list[RawFile]]:
        """The files where they lie."""
        return nullcontext(list(files))

    def file_system(self) -> tuple[AbstractFileSystem, str]:
        """The local file system and the folder."""
        from fsspec.core import url_to_fs

        with settled(self.raw_dir):  # a drop that a kill left half in place would look as if it had gone
            found: tuple[AbstractFileSystem, str] = url_to_fs(str(self.raw_dir))
        return found

    def aside(self, source: Source) -> list[dict[str, list[RawFile]]]:
        """What lies in `.replaced/`. Deliveries that are still coming in are left to whoever writes them."""
        folders = sorted(f for f in (self.raw_dir / REPLACED).glob("*") if f.is_dir())
        match, found = file_matcher(source), []
        for folder in folders:
            tables: dict[str, list[RawFile]] = {}
            for path in sorted(folder.iterdir()):
                table = match(path.name, folder)
                there = look_at(path, Bounds(self.raw_dir, self.follow_links))
                if table and not there.fault and not path.name.startswith("."):
                    day = as_day(folder.name[:10]) or date.min
                    tables.setdefault(table, []).append(RawFile(day, path.name, path, there.size, there.mtime_ns))
            found.append({raw: files for raw, files in with_exploded(tables, source).items() if files})
        return found

    def exchange(self, file: RawFile, content: bytes) -> bool:
        """Under the lock that whoever puts drops in place holds, too."""
        with reading(file.path, len(content)):
            return exchange(file.path, self.raw_dir, content, file.size, file.mtime_ns)


class StoreZone:
    """A prefix in an object store.

    Args:
        url: the prefix.
        scratch: a folder for what is on its way there.
    """

    def __init__(self, url: str, scratch: Path) -> None:
        self.store, self.scratch = ObjectStore(url), scratch
        self._listed: dict[str, dict[str, Entry]] = {}

    @property
    def where(self) -> str:
        """The URL."""
        return self.store.url

    def exists(self) -> bool:
        """Whether anything lies below the prefix."""
        with self.store.explained():
            return bool(self.store.fs.exists(self.store.root))

    def file_system(self) -> tuple[AbstractFileSystem, str]:
        """The store's file system and the prefix within it."""
        return self.store.fs, self.store.root

    # -- reading

    def drops(self, source: Source) -> Drops:
        """What lies below the prefix, from one listing."""
        tables: dict[str, list[RawFile]] = {name: [] for name in source.file.tables}
        match = file_matcher(source)
        left: list[Path] = []
        held: set[date] = set()
        for folder, name, found in list_files(*self.file_system(), where=self.where):
            day = as_day(folder)
            if day is None:
                raise InputError(
                    f"{folder!r} is not a day",
                    where=f"{self.where}/{folder}",
                    fix="name the folder YYYY-MM-DD after the day of the delivery, or move it elsewhere",
                )
            if name is None or name.startswith("."):
                continue
            if name == UPLOADING:
                held.add(day)
            table = match(name, f"{self.where}/{folder}")
            if table is None:
                left.append(Path(folder) / name)
            else:
                url = f"{self.where}/{folder}/{name}"
                tables[table].append(RawFile(day, name, Path(name), found.size, _number(found.version), url))
        for files in tables.values():
            files.sort()
        return Drops(with_exploded(tables, source), tuple(sorted(left)), frozenset(held))

    @contextmanager
    def fetched(
        self, files: Sequence[RawFile], scratch: Path, log: Callable[[str], Any] | None = None
    ) -> Iterator[list[RawFile]]:
        """Copies of the files, several fetched at a time and gone afterwards."""
        with _folder(scratch) as folder:
            started = datetime.now()
            copies = each(lambda numbered: self._fetch(*numbered, folder), list(enumerate(files)), _size_of)
            self._check_unchanged(files)
            if log and files:
                size, seconds = sum(file.size for file in files), (datetime.now() - started).total_seconds()
                log(f"fetched {len(files):,} files, {size / 1e6:,.1f} MB, in {seconds:.1f} s from {self.where}")
            yield copies

    def aside(self, source: Source) -> list[dict[str, list[RawFile]]]:
        """What lies below `.replaced/`."""
        match = file_matcher(source)
        folders: dict[str, dict[str, list[RawFile]]] = {}
        for name, found in sorted(self.store.objects(_REPLACED).items()):
            folder, _, file = name.rpartition("/")
            if table := match(file, f"{self.where}/{folder}"):
                day = as_day(folder.removeprefix(f"{_REPLACED}/")[:10]) or date.min
                listed = RawFile(day, file, Path(file), found.size, _number(found.version), f"{self.where}/{name}")
                folders.setdefault(folder, {}).setdefault(table, []).append(listed)
        return list(folders.values())

    def exchange(self, file: RawFile, content: bytes) -> bool:
        """An object is written whole or not at all; what `_SUCCESS` says of the old one tells nothing any more."""
        name = self._name(file)
        now = self.store.look(name)
        if now is None or (now.size, _number(now.version)) != (file.size, file.mtime_ns):
            return False
        self.store.write(name, content)
        return True

    def _name(self, file: RawFile) -> str:
        return file.url.removeprefix(f"{self.where}/")

    def _fetch(self, number: int, file: RawFile, folder: Path) -> RawFile:
        # Whatever the object is called, the copy has a name that every file system takes; its ending may matter.
        path = folder / f"{number}{''.join(Path(file.name).suffixes[-2:])}"
        self.store.download(self._name(file), path, file.size)
        stat = path.stat()
        if stat.st_size != file.size:
            raise _changed(file)
        return replace(file, path=path, copied_ns=stat.st_mtime_ns)

    def _check_unchanged(self, files: Sequence[RawFile]) -> None:
        """What was fetched is what was listed: an object that was overwritten in between has another version."""
        listing = self.store.objects() if len(files) > _MANY else None
        names = [self._name(file) for file in files]
        found = [listing.get(n) for n in names] if listing is not None else each(self.store.look, names)
        for file, now in zip(files, found, strict=True):
            if now is None or (now.size, _number(now.version)) != (file.size, file.mtime_ns):
                raise _changed(file)

    # -- landing

    def days(self) -> Collection[date]:
        """The days that have a drop; a zone that does not exist yet has none."""
        self._listed.clear()
        try:
            listing = list_files(*self.file_system(), where=self.where)
        except MissingZone:
            return ()
        for folder, name, found in listing:
            if as_day(folder) is not None and name is not None and not name.startswith("."):
                self._listed.setdefault(folder, {})[name] = found
        return [date.fromisoformat(folder) for folder in self._listed]

    def holds(self, given: Sequence[Given], day: date) -> bool:
        """Whether a drop consists of the very same files; contents are compared last.

        What `put` has written about a drop tells its contents as long as its objects are those it saw; else they are
        fetched.
        """
        there = dict(self._listed.get(day.isoformat(), {}))
        marked = there.pop(MARKER, None)
        if UPLOADING in there or {name: found.size for name, found in there.items()} != {f.name: f.size for f in given}:
            return False
        told = _read_receipt(self.store.read(f"{day}/{MARKER}")) if marked else {}
        return all(
            self._sha256(f"{day}/{file.name}", there[file.name], told.get(file.name)) == _sha256(file) for file in given
        )

    def put(self, given: Sequence[Given], day: date, progress: Progress | None = None) -> str | None:
        """Makes `given` the drop of `day`.

        What was there before is kept aside, then the files are uploaded, and `_SUCCESS` comes last. Until then the day is
        held back from loads; when this is interrupted, landing the same files again completes it.
        """
        self._listed.pop(day.isoformat(), None)
        names = [name.removeprefix(f"{day}/") for name in self.store.objects(day.isoformat())]
        there = [name for name in names if "/" not in name and not name.startswith(".")]
        self.store.write(f"{day}/{UPLOADING}", f"since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
        replaced = None
        if old := [name for name in there if name not in (MARKER, UPLOADING)]:
            stamp = datetime.now().strftime("%Y%m%dT%H%M%S%f")
            replaced = f"{_REPLACED}/{day}-{stamp}"
            each(lambda name: self.store.copy(f"{day}/{name}", f"{replaced}/{name}"), old)
        if MARKER in there:
            self.store.remove([f"{day}/{MARKER}"])
        done, size = 0, sum(file.size for file in given)

        def upload(file: Given) -> str:
            nonlocal done
            digest = self._upload(file, f"{day}/{file.name}")
            done += file.size
            if progress:
                progress(done, size)
            return digest

        digests = each(upload, given, lambda file: file.size)
        self.store.remove([f"{day}/{name}" for name in set(old) - {file.name for file in given}])
        receipt = self._receipt(day, given, digests)
        self.store.write(f"{day}/{MARKER}", json.dumps({"files": receipt}, indent=1).encode())
        self.store.remove([f"{day}/{UPLOADING}"])
        return f"{self.where}/{replaced}" if replaced else None

    def _receipt(self, day: date, given: Sequence[Given], digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What was uploaded, as the store has it now.

        Raises:
            PassingError: a file is not there as it was uploaded.
        """
        now = self.store.objects(day.isoformat())
        receipt: dict[str, dict[str, Any]] = {}
        for file, digest in zip(given, digests, strict=True):
            found = now.get(f"{day}/{file.name}")
            if found is None or found.size != file.size:
                raise PassingError(
                    "is not there as it was uploaded", where=f"{self.where}/{day}/{file.name}", fix="land it again"
                )
            receipt[file.name] = {"size": file.size, "sha256": digest, "version": found.version}
        return receipt

    def _upload(self, file: Given, name: str) -> str:
        digest = hashlib.sha256()
        if file.size <= _SMALL:
            with reading(file.path, file.size):
                content = b"".join(file.read())
            digest.update(content)
            self.store.write(name, content)
            return digest.hexdigest()
        with _folder(self.scratch) as folder:
            # What is delivered need not be a file on disk as it is (a replay writes parts of one).
            path = folder / "file"
            with reading(file.path, file.size), path.open("wb") as out:
                for chunk in file.read():
                    digest.update(chunk)
                    out.write(chunk)
            self.store.upload(path, name)
        return digest.hexdigest()

    def _sha256(self, name: str, found: Entry, told: dict[str, Any] | None) -> str:
        if told and (told.get("size"), told.get("version")) == (found.size, found.version):
            return str(told.get("sha256"))
        with _folder(self.scratch) as folder:
            path = folder / "file"
            self.store.download(name, path, found.size)
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _folder(scratch: Path) -> Iterator[Path]:
    """A folder for files on their way, gone after the block; those that killed processes have left go, too."""
    from psutil import pid_exists

    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.glob(f"{_ON_ITS_WAY}*"):
        pid = left.name.removeprefix(_ON_ITS_WAY).partition("-")[0]
        if pid.isdigit() and not pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"{_ON_ITS_WAY}{os.getpid()}-", dir=scratch) as folder:
        yield Path(folder)


def _size_of(numbered: tuple[int, RawFile]) -> int:
    return numbered[1].size


def _changed(file: RawFile) -> PassingError:
    return PassingError(
        "the file is gone or another one since it was listed",
        where=file.where,
        fix="wait until the delivery is complete and load again",
    )


def _number(version: str) -> int:
    """A version as the number that `bronze.files` keeps of a file, where a folder's file has its time."""
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest()) >> 1


def _sha256(file: Given) -> str:
    digest = hashlib.sha256()
    with reading(file.path, 0):
        for chunk in file.read():
            digest.update(chunk)
    return digest.hexdigest()


def _read_receipt(content: bytes | None) -> dict[str, dict[str, Any]]:
    """What `put` wrote into `_SUCCESS`; nothing of what others write there."""
    try:
        found = json.loads(content or b"")["files"]
        return {name: dict(told) for name, told in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def unfinished(marker: str) -> str:
    """What to say of a day that is held back."""
    return (
        f"{marker}: an upload of this day has begun and not ended, so the day is left as it was loaded\n"
        "  → wait for it; if it was cut off, land the same files again, or remove this object when the day is complete"
    )


# -- listing -----------------------------------------------------------------------------------------------------


def list_files(
    fs: AbstractFileSystem, root: str, where: str = "", follow_links: bool = False
) -> list[tuple[str, str | None, Entry]]:
    """(folder, file name, file) of every file directly in a folder below the root; a name of None is an empty folder.

    What is named like a file and is none counts as an empty one, as in `landing.list_drops`.

    Raises:
        MissingZone: there is no such folder, or nothing at all below the prefix of an object store.
        PlatformError: it cannot be listed. A listing is whole or an error, never a part.
    """
    root = root.rstrip("/")
    is_local = "file" in _protocols(fs)
    where = where or (root if is_local else fs.unstrip_protocol(root))
    # An object store's listings may be kept by fsspec; who reads them from memory sees nothing new.
    fs.invalidate_cache(root)
    try:
        return _local_files(root, follow_links) if is_local else _flat_files(fs, root)
    except FileNotFoundError:
        raise MissingZone(
            "there is no such landing zone, or nothing lies in it",
            where=where,
            fix="check ECOMMERCE_RAW_URL and the account, or mount the folder; nothing is loaded or taken back meanwhile",
        ) from None
    except OSError as error:
        if not is_local:
            with explained(where):
                raise
        raise InputError(
            f"the landing zone cannot be listed ({error.strerror or error})",
            where=where,
            fix="check its rights and the connection; the next tick tries again",
        ) from error
    except Exception:
        with explained(where):
            raise


def as_day(folder: str) -> date | None:
    """The day that a folder is named after; None for one that is no day."""
    try:
        return date.fromisoformat(folder) if _DAY.fullmatch(folder) else None
    except ValueError:
        return None


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


_Files = list[tuple[str, str | None, Entry]]


def _local_files(root: str, follow_links: bool) -> _Files:
    """Folder by folder, so that hidden ones (replaced drops, say) cost nothing."""
    found: _Files = []
    bounds = Bounds(Path(root), follow_links)
    for listed in os.scandir(root):
        if listed.name.startswith(".") or not is_folder(listed.path):
            continue
        found.append((listed.name, None, Entry(0, "")))
        if as_day(listed.name) is None:
            continue
        inside = bounds.hold(listed.path)
        try:
            for file in os.scandir(listed.path):
                there = look_at(file.path, bounds, inside=inside)
                seconds, rest = divmod(there.mtime_ns, 10**9)
                # As Python and fsspec write a time, so that a cursor from before knows the days again.
                time = seconds + 1e-9 * rest
                found.append((listed.name, file.name, Entry(there.size, str(time), time)))
        except FileNotFoundError:
            continue  # replaced or removed at this moment: the next tick sees what became of it
    return found


def _flat_files(fs: AbstractFileSystem, root: str) -> _Files:
    """One listing of everything: object stores answer by the thousand, and charge by the request."""
    objects = fs.find(root, detail=True)
    # Nothing at all is what a wrong prefix or account looks like, too; and an object is no folder of drops.
    if not isinstance(objects, dict) or not objects or set(objects) == {root}:
        raise FileNotFoundError(root)
    found: _Files = []
    for path, info in objects.items():
        folder, _, name = path.removeprefix(root).strip("/").partition("/")
        # A file right below the root is in no folder; one below a subfolder of a day does not count.
        if info.get("type") != "directory" and name and not folder.startswith("."):
            found.append((folder, None if "/" in name else name, entry(info)))
    return found
