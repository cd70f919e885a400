"""What all tests have in common, done once or in memory: nothing here changes what a test claims."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Memory that is used as a disk, where there is such a thing, and how much of it has to be free.
_MEMORY, _ENOUGH = Path("/dev/shm"), 4 << 30


def write_to_memory() -> None:
    """Has pytest put the folders of tests where a commit waits for no disk; DuckDB and SQLite do little else in tests."""
    import psutil

    if _MEMORY.is_dir() and min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available // 2) > _ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def read_migrations_once() -> None:
    """Dagster reads fifty migrations twice for every database it creates; they are the same for all."""
    from alembic.script import ScriptDirectory

    read: Callable[[Any], ScriptDirectory] = ScriptDirectory.from_config
    known: dict[str | None, ScriptDirectory] = {}

    def from_config(config: Any) -> ScriptDirectory:
        where = config.get_alembic_option("script_location")
        if where not in known:
            known[where] = read(config)
        return known[where]

    ScriptDirectory.from_config = from_config  # type: ignore[method-assign,assignment]
