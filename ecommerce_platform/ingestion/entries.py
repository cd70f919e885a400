"""What stands behind a name in a folder: a file that may be read, or why it is none. One answer for all who list folders.

A drop is whatever somebody else put there: links that lead nowhere, to themselves or to other people's files, pipes that
never end, folders named like files. None of it is opened; each is named, and the rest goes on.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

#: The setting that allows links out of the landing zone.
SETTING = "ECOMMERCE_FOLLOW_LINKS"
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A file with its size and time; with `fault`, a sentence, what is not to be opened (it counts as empty)."""

    size: int
    mtime_ns: int
    fault: str | None = None


class Bounds:
    """How far links may lead.

    Args:
        root: the folder that they may not leave.
        follow: whether they may all the same.
    """

    def __init__(self, root: Path, follow: bool = False) -> None:
        self.root, self.follow = os.path.realpath(root), follow

    def hold(self, path: str) -> bool:
        """Whether a path may be followed to where it leads."""
        there = os.path.realpath(path)
        return self.follow or there == self.root or there.startswith(self.root.rstrip(os.sep) + os.sep)


def look_at(path: str | Path, bounds: Bounds | None = None, *, inside: bool = True) -> Found:
    """What stands behind a name.

    Args:
        path: the name; it is there.
        bounds: how far a link may lead; None for anywhere.
        inside: whether the folder that holds it lies within the bounds.

    Raises:
        FileNotFoundError: it is not there any more.
    """
    own = os.lstat(path)
    if not stat.S_ISLNK(own.st_mode):
        there, held = own, inside
    else:
        try:
            there = os.stat(path)
        except OSError as error:
            return Found(0, own.st_mtime_ns, _broken(error))
        held = inside and (bounds is None or bounds.hold(str(path)))
    kind = next((name for test, name in _KINDS if test(there.st_mode)), None)
    if kind is not None:
        link = "a link to " if there is not own else ""
        return Found(0, own.st_mtime_ns, f"is {link}{kind}, not a file; remove it, or have the file delivered")
    if not held:
        what = "is a link that leads" if there is not own else "lies in a folder that leads"
        return Found(
            0, own.st_mtime_ns,
            f"{what} out of the landing zone, so it is not followed; deliver the file itself, or set {SETTING}=true",
        )  # fmt: skip
    return Found(there.st_size, there.st_mtime_ns)


def is_folder(path: str | Path) -> bool:
    """Whether it is a folder, or a link to one; a link that leads nowhere or to itself is none."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def _broken(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself; remove it, or have the file delivered"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "is a link that leads nowhere; remove it, or have the file delivered"
    return f"is a link that cannot be followed ({error.strerror}); check its rights, or have the file delivered"
