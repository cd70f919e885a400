"""The jobs: which tables are made together, and how often they are meant to be.

When they run is `schedules.py` and `sensors.py`. A table's cadence is in its contract (`tags: {cadence: weekly}`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ecommerce_platform.automation.partitions import FULL_CHECKS, LOAD_JOB, ONLY_PENDING

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
    return [
        dg.define_asset_job(
            BUILD_JOB, selection=dg.AssetSelection.all() - asked, description="Everything, from drops to models."
        ),
        dg.define_asset_job(
            LOAD_JOB,
            selection=loads - asked,
            description="Takes over the loads of a day, or of a range of days: bronze, silver, and the gold tables that "
            "are kept up to date with every load.",
        ),
        dg.define_asset_job(
            FULL_CHECKS_JOB,
            selection=loads,
            tags={FULL_CHECKS: "true", ONLY_PENDING: "true"},
            description="Checks every table as a whole, and asks all business expectations; a daily load checks the rows "
            "that it has written.",
        ),
        dg.define_asset_job(
            PUBLISH_JOB,
            selection=dg.AssetSelection.assets(SNAPSHOT) | asked,
            description="Publishes a snapshot for readers, unless the tables break a business expectation that blocks.",
        ),
        *(
            [
                dg.define_asset_job(
                    EXPECTATIONS_JOB,
                    selection=asked,
                    description="Asks the business expectations about the tables as they are.",
                )
            ]
            if expectations
            else []
        ),
        *(
            [
                dg.define_asset_job(
                    CUSTOMER_MARTS_JOB,
                    selection=customers - asked,
                    description="Customer-level tables and models, which change slowly and cost the most.",
                )
            ]
            if weekly
            else []
        ),
    ]
