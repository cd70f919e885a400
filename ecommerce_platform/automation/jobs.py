"""The jobs: which tables are made together, and how often they are meant to be.

When they run is `schedules.py` and `sensors.py`. A table's cadence is in its contract (`tags: {cadence: weekly}`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ecommerce_platform.automation.partitions import FULL_CHECKS, LOAD_JOB, ONLY_PENDING
from ecommerce_platform.contracts.catalog import Catalog

#: Everything; what the command line runs.
BUILD_JOB = "build"
WEEKLY_JOB = "customer_marts"
FULL_CHECKS_JOB = "full_checks"


def jobs(catalog: Catalog, assets: Sequence[dg.AssetsDefinition]) -> list[Any]:
    """All jobs over these assets."""
    keys = [key for asset in assets for key in asset.keys]
    weekly = [key for asset in assets for key in asset.keys if _cadence(catalog, asset, key) == "weekly"]
    daily = [key for key in keys if key not in weekly]
    found = [
        dg.define_asset_job(
            BUILD_JOB, selection=dg.AssetSelection.all(), description="Everything, from drops to models."
        ),
        dg.define_asset_job(
            LOAD_JOB,
            selection=dg.AssetSelection.assets(*daily),
            description="Takes over the loads of a day, or of a range of days: bronze, silver, and the gold tables that "
            "are kept up to date with every load.",
        ),
        dg.define_asset_job(
            FULL_CHECKS_JOB,
            selection=dg.AssetSelection.assets(*daily),
            tags={FULL_CHECKS: "true", ONLY_PENDING: "true"},
            description="Checks every table as a whole; a daily load checks the rows that it has written.",
        ),
    ]
    if weekly:
        found.append(
            dg.define_asset_job(
                WEEKLY_JOB,
                selection=dg.AssetSelection.assets(*weekly),
                description="Customer-level tables and models, which change slowly and cost the most.",
            )
        )
    return found


def _cadence(catalog: Catalog, asset: dg.AssetsDefinition, key: dg.AssetKey) -> str:
    table = ".".join(key.path)
    contract = catalog.tables[table].contract if table in catalog.tables else None
    return str(contract.tags.get("cadence") if contract else asset.tags_by_key[key].get("cadence")) or "daily"
