"""How a finished folder becomes the drop of a day: in one step for whoever looks, whenever the process is killed.

A folder that is to become a drop is first renamed to `.ready-<day>-<time>`: from then on it counts. What is there moves to
`.replaced/`, and the new folder takes its place. Both happen under a lock on `raw/.lock`, which listings share, so that
nobody sees the moment between; and whoever lists or lands next brings to an end what a kill has left half-done. `landing`
and `extraction` fill the folder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path

from ecommerce_platform.disk import sync

REPLACED = ".replaced"
_LOCK = ".lock"
#: Begins the name of a file that is to take another's place; hidden, so no part of the drop.
_EXCHANGED = ".exchanged-"
_READY = re.compile(r"\.ready-(\d{4}-\d{2}-\d{2})-\d{8}T\d{12}")


@contextmanager
def settled(raw_dir: Path) -> Iterator[dict[date, Path]]:
    """No drop is put in place while the block lasts, and none is half in place.

    Gives the drops that had to be left half in place because nothing may be written here (a read-only mount, another
    user's folder): they count already, so these folders stand for their days.
    """
    if not raw_dir.is_dir():
        yield {}
        return
    may_write = True
    while True:
        with _locked(raw_dir, exclusive=False):
            # Whoever is at work holds the lock alone: what is still ready now was left by a kill.
            left = _ready(raw_dir)
            if not left or not may_write:
                yield {date.fromisoformat(_day_of(folder)): folder for folder in left}
                return
        try:
            with _locked(raw_dir, exclusive=True):
                _finish(raw_dir)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            may_write = False


def place(incoming: Path, day: date, raw_dir: Path) -> Path | None:
    """Makes a complete folder in `raw_dir` the drop of `day`, whole or not at all.

    Its files must be on disk. Returns where the drop that was there before has been moved.

    Raises:
        OSError: it cannot be put in place; everything is as it was.
    """
    with _locked(raw_dir, exclusive=True):
        _finish(raw_dir)
        return _place(incoming, day, raw_dir)


def extend(incoming: Path, day: date, raw_dir: Path, leave_out: Callable[[str], bool]) -> Path | None:
    """Makes a complete folder, and whatever the drop of `day` holds already, the drop of that day.

    What is there stays the same file under a second name, so it costs no space and counts as unchanged. Only files that
    `leave_out` names are not taken over: they stay in the replaced drop.

    Returns:
        Where the files that were left out have been moved; None when there are none.

    Raises:
        OSError: it cannot be put in place; everything is as it was.
    """

    def skip(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if leave_out(name)] if Path(folder) == there else []

    with _locked(raw_dir, exclusive=True):
        _finish(raw_dir)
        there = raw_dir / day.isoformat()
        if there.is_dir():
            shutil.copytree(there, incoming, symlinks=True, ignore=skip, copy_function=_link, dirs_exist_ok=True)
            sync(incoming)
        replaced = _place(incoming, day, raw_dir)
        if replaced is None:
            return None
        _forget_links(replaced, there)
        return replaced if replaced.is_dir() else None


def exchange(path: Path, raw_dir: Path, content: bytes, size: int, mtime_ns: int) -> bool:
    """Gives a delivered file another content, whole or not at all; whether it still was the one that is meant.

    It is then another file than the one that was loaded, so the next load takes it over. Nothing of the old one is kept:
    where a link leads to another place below `raw_dir`, the file there is exchanged. A link that leads elsewhere becomes a
    file of its own (`leads_out` tells beforehand where the old one stays).

    Args:
        path: the file, in a drop or in what was replaced.
        raw_dir: the folder of drops.
        content: its new content.
        size: how large it was when it was read.
        mtime_ns: when it had been written then.

    Raises:
        OSError: it cannot be written; it is as it was.
    """
    with _locked(raw_dir, exclusive=True):
        if path.is_symlink() and leads_out(path, raw_dir) is None:
            path = path.resolve()
        new = path.with_name(f"{_EXCHANGED}{path.name}")
        try:
            stat = path.stat()
            if (stat.st_size, stat.st_mtime_ns) != (size, mtime_ns):
                return False
            with new.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        except FileNotFoundError:
            return False
        shutil.copymode(path, new)
        with suppress(OSError):
            os.chown(new, stat.st_uid, stat.st_gid)
        if new.stat().st_mtime_ns == mtime_ns:  # a clock of whole seconds: a load must see that it is another file
            os.utime(new, ns=(mtime_ns, mtime_ns + 10**9))
        os.replace(new, path)
        sync(path.parent)
    return True


def leads_out(path: Path, raw_dir: Path) -> Path | None:
    """Where a delivered file stands if it is a link that leads out of the folder of drops."""
    if not path.is_symlink():
        return None
    there = path.resolve()
    return None if there.is_relative_to(raw_dir.resolve()) else there


def sweep_exchanged(raw_dir: Path) -> None:
    """Removes what an `exchange` that was killed has left."""
    with _locked(raw_dir, exclusive=True):
        for left in raw_dir.glob(f"**/{_EXCHANGED}*"):
            left.unlink(missing_ok=True)


def tidy(raw_dir: Path, group: Callable[[Path], str | None], keep: int) -> list[Path]:
    """Removes from `.replaced/` what nobody needs; the files that it removed.

    That is what stands in its day's drop all the same (a kill came before it was removed), and of the files that `group`
    puts together all but the newest `keep`. Files of no group stay.
    """
    removed = []
    with _locked(raw_dir, exclusive=True):
        groups: dict[str, list[Path]] = {}
        folders = [Path(e.path) for e in os.scandir(raw_dir / REPLACED)] if (raw_dir / REPLACED).is_dir() else []
        for folder in sorted(folders, key=lambda f: f.name[10:], reverse=True):  # the newest first
            if (there := raw_dir / folder.name[:10]).is_dir() and folder.is_dir():
                _forget_links(folder, there)
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                if file.is_file() and (name := group(file)) is not None:
                    groups.setdefault(name, []).append(file)
        for files in groups.values():
            for file in files[keep:]:
                file.unlink()
                removed.append(file)
                with suppress(OSError):
                    file.parent.rmdir()
    return removed


def _place(incoming: Path, day: date, raw_dir: Path) -> Path | None:
    incoming.chmod(0o700)  # it holds personal data
    stamp = datetime.now().strftime("%Y%m%dT%H%M%S%f")
    ready = raw_dir / f".ready-{day.isoformat()}-{stamp}"
    incoming.rename(ready)
    try:
        sync(raw_dir)
        replaced = _move_in(ready, raw_dir)
    except BaseException:
        if ready.exists():
            ready.rename(incoming)
        raise
    return replaced


def _move_in(ready: Path, raw_dir: Path) -> Path | None:
    """Puts a ready folder in its place; the drop that is there moves aside first."""
    folder = raw_dir / _day_of(ready)
    replaced = None
    if folder.exists():
        stamp = datetime.now().strftime("%Y%m%dT%H%M%S%f")
        replaced = raw_dir / REPLACED / f"{folder.name}-{stamp}"
        replaced.parent.mkdir(mode=0o700, exist_ok=True)
        folder.rename(replaced)
    try:
        ready.rename(folder)
    except BaseException:
        if replaced and not folder.exists():
            replaced.rename(folder)
        raise
    sync(raw_dir)
    return replaced


def _ready(raw_dir: Path) -> list[Path]:
    """Folders that count but are not in place, oldest first."""
    return sorted((Path(e.path) for e in os.scandir(raw_dir) if _READY.fullmatch(e.name)), key=lambda p: p.name[-21:])


def _day_of(ready: Path) -> str:
    found = _READY.fullmatch(ready.name)
    assert found
    return found.group(1)


def _finish(raw_dir: Path) -> None:
    """Brings to an end what kills have left half-done; the lock is held."""
    for ready in _ready(raw_dir):
        _move_in(ready, raw_dir)


@contextmanager
def _locked(raw_dir: Path, exclusive: bool) -> Iterator[None]:
    """Holds the lock of a folder of drops. Where there are no locks, or none may be made, goes on without."""
    handle = None
    with suppress(OSError):
        handle = os.open(raw_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if handle is None:
        with suppress(OSError):
            handle = os.open(raw_dir / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if handle is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES):
            raise
        shutil.copy2(source, target, follow_symlinks=False)  # a file system without hard links
        if not os.path.islink(target):
            sync(Path(target))


def _forget_links(replaced: Path, folder: Path) -> None:
    """Removes from a replaced drop what is the same file as in the drop that took its place."""
    for entry in list(os.scandir(replaced)):
        other = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            _forget_links(Path(entry.path), other)
        elif os.path.lexists(other):
            mine, its = entry.stat(follow_symlinks=False), other.lstat()
            # Copies, where there are no links: the same size and time is the same file, for a drop never changes.
            if os.path.samestat(mine, its) or (mine.st_size, mine.st_mtime_ns) == (its.st_size, its.st_mtime_ns):
                os.unlink(entry.path)
    with suppress(OSError):
        replaced.rmdir()
