"""Assets of what is found in the tables by Python: declarations; the finding is `quality`'s."""

import dagster as dg

from ecommerce_platform.assets.declare import (
    Outcome,
    Step,
    asset_key,
    check_specs,
    code_references,
    column_schema,
    describe,
    preview,
    table_asset,
)
from ecommerce_platform.assets.tables import Ground
from ecommerce_platform.automation.freshness import freshness_policy
from ecommerce_platform.quality.anomalies import READS


def anomalies_asset(ground: Ground) -> dg.AssetsDefinition:
    """`gold.anomalies`: strange days of the watched series, made anew when the KPIs have changed."""
    contract = ground.catalog.contract("gold.anomalies")
    key = asset_key(contract.table)
    rules = ground.source.file.anomalies

    def work(step: Step) -> Outcome:
        from ecommerce_platform.quality.anomalies import refresh_anomalies

        with step.connect() as con:
            written = refresh_anomalies(con, contract, rules)
            shown = preview(con, contract)
        return Outcome(written, {"preview": shown})

    return table_asset(
        key,
        work,
        checks=check_specs(contract, key),
        listener=ground.listener,
        deps=[asset_key(table) for table in READS],
        group_name="gold",
        owners=list(contract.owners),
        kinds={"duckdb", "python"},
        tags={**contract.tags, "subject": "insight"},
        freshness_policy=freshness_policy(contract),
        description=describe(
            contract,
            note=f"Watched: {', '.join(rules.series)}; a day is strange beyond "
            f"{rules.threshold:g} usual errors, critical beyond {rules.critical:g}.",
        ),
        metadata={
            "dagster/column_schema": column_schema(contract.columns),
            "dagster/table_name": contract.table,
            **code_references(contract.path, ground.source.file.path),
        },
    )
