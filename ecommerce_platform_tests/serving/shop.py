"""A small generated shop, built and published, for tests of what is served; with what a build would tell of two of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.roles import ROLES
from ecommerce_platform.serving.access.store import Store
from ecommerce_platform.serving.read.reader import Limits, Reader
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Driver

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MONTHLY, DAILY = "gold.kpi_monthly", "gold.kpi_daily"
_CHECK = {"severity": "warn", "at": "2024-06-01T00:00:00+00:00", "meaning": "Months follow each other."}
ABOUT: dict[str, Any] = {
    table: {
        "layer": "gold", "subject": "kpi", "description": f"What {table} says.", "grain": grain, "owners": ["team:data"],
        "fresh_within_hours": 30, "built_at": "2024-06-01T00:00:00+00:00", "reads": reads,
        "columns": {"revenue": {"type": "DECIMAL(18,4)", "unit": "currency", "description": "Revenue.", "personal": False,
                                "reads": [f"{reads[0]}.revenue"]}},
        "checks": checks,
    }
    for table, grain, reads, checks in (
        (MONTHLY, "one row per month", [DAILY], {"no_gaps": {"passed": False, "says": "two months are missing", **_CHECK}}),
        (DAILY, "one row per day", ["gold.fct_orders"], {"no_gaps": {"passed": True, "says": None, **_CHECK}}),
    )
}  # fmt: skip


@dataclass
class Served:
    """The shop, who may see it, and the reader that shows it."""

    driver: Driver
    folder: Path
    reader: Reader
    accounts: Accounts
    #: Role → an API key of that role.
    keys: dict[str, str]

    @property
    def published(self) -> Path:
        return self.folder / "published"

    @contextmanager
    def plain(self) -> Iterator[DuckDBPyConnection]:
        """The snapshot's tables without any of what is tested."""
        with closing(open_snapshot(current_snapshot(self.published))) as con:
            yield con

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.plain() as con:
            found = con.execute(sql)
            names = [c[0] for c in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def publish(self, **options: Any) -> None:
        publish(
            self.driver.connect, self.driver.project.catalog, self.published, "synthetic",
            PublishOptions(about=ABOUT, force=True, **options),
        )  # fmt: skip


def build(folder: Path) -> Served:
    """Generates, builds and publishes the shop in a folder."""
    generate_shop(folder, orders=250, days=90, seed=5, dirty_share=0.01)
    driver = Driver.of("synthetic", folder)
    driver.build()
    accounts = Accounts(Store(folder / "serving.db"))
    keys = {role: accounts.add_key(role, role) for role in ROLES}
    served = Served(driver, folder, Reader(folder / "published", Limits(seconds=20)), accounts, keys)
    served.publish()
    return served
