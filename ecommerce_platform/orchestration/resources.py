"""The warehouse as a Dagster resource: dagster-duckdb's configuration, the platform's way of connecting.

dagster-duckdb opens the file with ten retries and leaves it open when the body raises; the plain `Warehouse`
waits as long as it takes and always closes. Only the configuration is shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_duckdb import DuckDBResource
from pydantic import Field

from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.connection import Warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class WarehouseResource(DuckDBResource):
    """The warehouse of one source. `database` and `connection_config` are dagster-duckdb's own fields."""

    source: str = Field(description="Name of the source whose data the warehouse holds; another one is refused.")

    def warehouse(self) -> Warehouse:
        """The plain warehouse with this configuration."""
        return Warehouse(Path(self.database), self.source, dict(self.connection_config))

    @contextmanager
    def get_connection(self, log: Any = None) -> Iterator[DuckDBPyConnection]:
        """A connection for as long as the block lasts; waits, and says for whom, while another process has it."""
        with self.warehouse().connect(log) if log is not None else self.warehouse().connect() as con:
            yield con


def connection_config(settings: Settings) -> dict[str, Any]:
    """DuckDB settings of every connection: limits, room to spill, and no extension fetched behind one's back."""
    return {
        "memory_limit": settings.memory_limit,
        "threads": settings.threads,
        "temp_directory": str(settings.scratch / "duckdb"),
        "preserve_insertion_order": True,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # Else a Python variable named like a table would be read in its place.
        "python_enable_replacements": False,
        "custom_user_agent": "ecommerce_platform",
    }


def warehouse_resource(settings: Settings) -> WarehouseResource:
    """The resource for these settings."""
    return WarehouseResource(
        database=str(settings.warehouse), source=settings.source_name, connection_config=connection_config(settings)
    )


def open_warehouse(settings: Settings) -> Warehouse:
    """The same warehouse outside Dagster (command line, tests)."""
    return Warehouse(settings.warehouse, settings.source_name, connection_config(settings))
