"""Making sure that something is on disk; what is written, and where, is its writer's business."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to disk: after a power cut a name must not point at half a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
