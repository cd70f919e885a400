"""A warehouse in memory, with the platform's schemas and macros, that is gone when the block ends.

What is put there and asked of it is up to `sample`, `profile` and `check`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ecommerce_platform.warehouse.connection import Warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def temporary_warehouse(
    source: str, memory_limit: str = "2GB", threads: int | None = None
) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A connection to an empty warehouse of a source, and a folder for what files are unpacked into.

    Args:
        source: the source's name.
        memory_limit: what DuckDB may use; more goes to the folder.
        threads: threads DuckDB may use; default: all cores.
    """
    with TemporaryDirectory(prefix="ecommerce-sample-") as folder:
        config = {
            "memory_limit": memory_limit,
            "threads": threads or os.cpu_count() or 1,
            "temp_directory": str(Path(folder) / "duckdb"),
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        with Warehouse(Path(":memory:"), source, config).connect() as con:
            yield con, Path(folder)
