"""Assets of what is found in the tables by Python: declarations; the finding is `quality`'s."""

import dagster as dg

from ecommerce_platform.assets.declare import Outcome, Step, preview
from ecommerce_platform.assets.tables import Ground, filled_asset
from ecommerce_platform.quality.anomalies import READS


def anomalies_asset(ground: Ground) -> dg.AssetsDefinition:
    """`gold.anomalies`: strange days of the watched series, made anew when the KPIs have changed."""
    contract = ground.catalog.contract("gold.anomalies")
    rules = ground.source.file.anomalies

    def work(step: Step) -> Outcome:
        from ecommerce_platform.quality.anomalies import refresh_anomalies

        with step.connect() as con:
            written = refresh_anomalies(con, contract, rules, full_checks=step.full_checks)
            shown = preview(con, contract)
        return Outcome(written, {"preview": shown})

    note = (
        f"Watched: {', '.join(rules.series)}; a day is strange beyond {rules.threshold:g} usual errors, critical beyond "
        f"{rules.critical:g}."
    )
    return filled_asset(ground, contract, work, READS, ground.source.file.path, note=note)
