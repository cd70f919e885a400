"""The jobs: which tables are made together, and how often they are meant to be.

When they run is `schedules.py` and `sensors.py`. A table's cadence is in its contract (`tags: {cadence: weekly}`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ecommerce_platform.orchestration.partitions import FULL_CHECKS, FULL_TRAINING, LOAD_JOB, ONLY_PENDING

#: Everything but publishing; what the command line runs.
BUILD_JOB = "build"
CUSTOMER_MARTS_JOB = "customer_marts"
FULL_CHECKS_JOB = "full_checks"
PUBLISH_JOB = "publish"
EXPECTATIONS_JOB = "business_expectations"
#: The asset that stands for the published snapshots.
SNAPSHOT = dg.AssetKey(["published", "snapshot"])


def jobs(assets: Sequence[dg.AssetsDefinition], expectations: Sequence[dg.AssetChecksDefinition] = ()) -> list[Any]:
    """All jobs over these assets.

    The business expectations cost seconds even when there is little to ask, so no load waits for them: they are asked
    after a build, before a publish, and in the weekly full checks.
    """
    cadence = {key: asset.tags_by_key[key].get("cadence", "daily") for asset in assets for key in asset.keys}
    cadence.pop(SNAPSHOT, None)
    daily = [key for key, often in cadence.items() if often == "daily"]
    weekly = [key for key, often in cadence.items() if often == "weekly"]
    asked = dg.AssetSelection.checks(*(key for checks in expectations for key in checks.check_keys))
    loads, customers = dg.AssetSelection.assets(*daily), dg.AssetSelection.assets(*weekly)
    found = [
        _job(BUILD_JOB, dg.AssetSelection.all() - asked, "Everything, from drops to models."),
        _job(
            LOAD_JOB,
            loads - asked,
            "Takes over the loads of a day, or of a range of days: bronze, silver, and the gold tables that "
            "are kept up to date with every load.",
        ),
        _job(
            FULL_CHECKS_JOB,
            loads,
            "Checks every table as a whole, and asks all business expectations; a daily load checks the rows "
            "that it has written.",
            tags={FULL_CHECKS: "true", ONLY_PENDING: "true"},
        ),
        _job(
            PUBLISH_JOB,
            dg.AssetSelection.assets(SNAPSHOT) | asked,
            "Publishes a snapshot for readers, unless the tables break a business expectation that blocks.",
        ),
    ]
    if expectations:
        found.append(_job(EXPECTATIONS_JOB, asked, "Asks the business expectations about the tables as they are."))
    if weekly:
        about = "Customer-level tables and models, which change slowly and cost the most."
        found.append(_job(CUSTOMER_MARTS_JOB, customers - asked, about, tags={FULL_TRAINING: "true"}))
    return found


def _job(name: str, selection: dg.AssetSelection, description: str, tags: dict[str, str] | None = None) -> Any:
    return dg.define_asset_job(name, selection=selection, tags=tags, description=description)
