"""The one assembly point: settings in, `Definitions` out. Also the seam for tests.

Which assets exist follows from the files: the catalog under `models/`, the source's folder. Nothing is opened,
listed or read from the environment here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from ecommerce_platform.assets.declare import StepListener
from ecommerce_platform.assets.resources import warehouse_resource
from ecommerce_platform.assets.tables import (
    LEDGERS,
    Ground,
    accounting_asset,
    brand_rules_asset,
    bronze_asset,
    clusters_asset,
    entity_asset,
    history_asset,
    links_asset,
    model_asset,
    shop_asset,
)
from ecommerce_platform.automation.conditions import automation_sensor
from ecommerce_platform.automation.extraction import extract_job
from ecommerce_platform.automation.jobs import jobs
from ecommerce_platform.automation.retention import prune_job
from ecommerce_platform.automation.schedules import schedules
from ecommerce_platform.automation.sensors import alert_sensor, drop_sensor, reaper_sensor
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.kpi_alert import check_kpi_alerts
from ecommerce_platform.contracts.source import check_ignored, read_source
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.mapping import compile_source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ecommerce_platform.automation.findings import Watched

#: Silver tables that are neither an entity nor a SELECT → what declares their asset.
FILLED_HERE = {
    "silver.shop": shop_asset,
    "silver.brand_rules": brand_rules_asset,
    "silver.row_accounting": accounting_asset,
    "silver.customer_links": links_asset,
    "silver.customer_clusters": clusters_asset,
}


def read_ground(settings: Settings, models: Path | None = None, listener: StepListener | None = None) -> Ground:
    """Everything assets are declared from: catalog, source and its compiled mappings.

    Raises:
        DefinitionError: a contract, SELECT, mapping or source.yml is wrong; names file and line.
    """
    catalog = read_catalog(models) if models else read_catalog()
    source = read_source(settings.source_folder, catalog.entities)
    check_kpi_alerts(source.file.path, source.file.alerts, {name: t.contract for name, t in catalog.tables.items()})
    contracts = {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities}
    check_ignored(source.file, contracts)
    return Ground(settings, catalog, source, compile_source(source, contracts), listener)


def build_definitions(
    settings: Settings, *, models: Path | None = None, listener: StepListener | None = None
) -> dg.Definitions:
    """All assets, checks and resources for these settings.

    Args:
        settings: paths, source and limits.
        models: another folder of tables than the package's own (tests).
        listener: told when a step starts, ends or fails (the command line's progress bar).

    Raises:
        DefinitionError: with file and line.
    """
    from ecommerce_platform.assets.expectations import expectation_checks
    from ecommerce_platform.assets.insight import anomalies_asset
    from ecommerce_platform.assets.ml import segment_assets
    from ecommerce_platform.assets.profiles import DRIFT, PROFILES, profile_assets, profile_checks
    from ecommerce_platform.assets.published import snapshot_asset
    from ecommerce_platform.automation.instance import write_batches

    write_batches()
    ground = read_ground(settings, models, listener)
    parsed = ground.models
    assets: list[dg.AssetsDefinition] = [bronze_asset(ground, raw) for raw in ground.source.file.tables]
    for name, table in ground.catalog.tables.items():
        if table.contract.entity:
            assets.append(entity_asset(ground, table.contract))
        elif table.contract.history_of:
            assets.append(history_asset(ground, table.contract))
        elif name in parsed:
            assets.append(model_asset(ground, parsed[name]))
        elif table.contract.filled_by and name not in LEDGERS and table.contract.layer == "silver":
            assets.append(FILLED_HERE[name](ground))
    if "gold.kpi_daily" in parsed and "gold.anomalies" in ground.catalog.tables:
        assets.append(anomalies_asset(ground))
    if {PROFILES, DRIFT} <= ground.catalog.tables.keys():
        assets.extend(profile_assets(ground))
    if "gold.rfm" in parsed:
        assets.extend(segment_assets(ground))
    published = [key for asset in assets for key in asset.keys if key.path[0] != "bronze"]
    assets.append(snapshot_asset(ground, published, lambda: watched_tables(ground, [*assets, *checks])))
    _no_cycles(assets)
    keys = {key for asset in assets for key in asset.keys}
    expectations, drifts = expectation_checks(ground, keys), profile_checks(ground, keys)
    checks = [*expectations, *drifts]
    found = [*jobs(assets, expectations), prune_job()]
    if ground.source.file.database:
        found.append(extract_job(settings, ground.source))
    names = {job.name for job in found}
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        resources={"warehouse": warehouse_resource(settings)},
        jobs=found,
        schedules=[s for s in schedules(ground.source) if s.job_name in names],
        sensors=[
            drop_sensor(settings, ground.source),
            reaper_sensor(),
            automation_sensor(),
            alert_sensor(settings, ground.source, lambda: watched_tables(ground, [*assets, *checks])),
        ],
        executor=dg.in_process_executor,
    )


def watched_tables(ground: Ground, assets: Iterable[dg.AssetsDefinition]) -> Watched:
    """What alerts and the manifest tell of: tables, and the checks declared with them or apart."""
    from ecommerce_platform.automation.findings import watched

    file = ground.source.file
    return watched(assets, ground.contracts, file.alerts, file.currency)


def _no_cycles(assets: list[dg.AssetsDefinition]) -> None:
    """Says which tables read each other in a circle; Dagster's own message names no file."""
    reads = {key: set(a.asset_deps[key]) for a in assets for key in a.keys}
    done: set[dg.AssetKey] = set()
    while ready := {key for key, deps in reads.items() if key not in done and deps & reads.keys() <= done}:
        done |= ready
    if circle := sorted(".".join(key.path) for key in reads.keys() - done):
        raise DefinitionError(
            f"these tables read each other in a circle: {', '.join(circle)}",
            fix="break the circle in one of their SELECTs",
        )
