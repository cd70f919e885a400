"""Making sure that something is on disk, that it is what was put there, and who may read it; what is written, and where,
its writer decides.

Warehouse, drops and Dagster's databases hold personal data, so what we create is the owner's alone. Published snapshots
are there to be read: by the group.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path


def sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to disk: after a power cut a name must not point at half a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_private() -> None:
    """What this process, and those that it starts, create from now on only the owner may read: 600 and 700.

    The mask of the process, because DuckDB and SQLite make files of their own beside theirs whenever they write.
    """
    os.umask(os.umask(0o077) | 0o077)


def open_to_group(folder: Path, closed: Collection[str] = ()) -> None:
    """Lets the group read a folder and all in it, but for entries directly in it that are `closed`.

    What belongs to somebody else stays as it is.
    """
    for root, folders, files in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name not in closed]
            files = [name for name in files if name not in closed]
        _allow(Path(root), stat.S_IRGRP | stat.S_IXGRP)
        for name in files:
            _allow(Path(root) / name, stat.S_IRGRP)


def open_the_way(folder: Path, *, listed: bool = False) -> None:
    """Lets the group pass through a folder, without seeing what else is in it unless that is `listed`."""
    _allow(folder, stat.S_IXGRP | (stat.S_IRGRP if listed else 0))


def _allow(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits != bits:
        with suppress(PermissionError):
            path.chmod(mode | bits)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits: about a second per GB."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
