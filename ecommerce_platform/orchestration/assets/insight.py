"""Assets of what is found in the tables by Python: declarations; the finding is that of `quality` and `insight`."""

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.insight.correlations import READS as CORRELATED
from ecommerce_platform.orchestration.assets.declare import Outcome, Step, preview
from ecommerce_platform.orchestration.assets.filled import filled_asset, fills
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.quality.anomalies import READS


@fills("anomalies")
def anomalies(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """Strange days of the watched series, made anew when the KPIs have changed."""
    if "gold.kpi_daily" not in project.models:
        return []
    rules = project.source.file.anomalies

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
    return [filled_asset(project, contract, work, READS, project.source.file.path, note=note)]


@fills("correlations")
def correlations(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """Which daily series go together, made anew when what they are read from has changed."""

    def work(step: Step) -> Outcome:
        from ecommerce_platform.insight.correlations import refresh_correlations

        with step.connect() as con:
            written = refresh_correlations(con, contract, full_checks=step.full_checks)
            shown = preview(con, contract)
        return Outcome(written, {"preview": shown})

    return [filled_asset(project, contract, work, CORRELATED)]
