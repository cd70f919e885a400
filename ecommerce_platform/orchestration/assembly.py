"""The one assembly point: settings in, `Definitions` out. Also the seam for tests.

Which assets exist follows from the files: the catalog under `models/`, the source's folder. Nothing is opened,
listed or read from the environment here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.orchestration.assets.bronze import bronze_asset
from ecommerce_platform.orchestration.assets.entities import entity_asset, history_asset
from ecommerce_platform.orchestration.assets.filled import filled_assets
from ecommerce_platform.orchestration.assets.selects import model_asset
from ecommerce_platform.orchestration.conditions import automation_sensor
from ecommerce_platform.orchestration.extraction import extract_job
from ecommerce_platform.orchestration.jobs import jobs
from ecommerce_platform.orchestration.partitions import current_days
from ecommerce_platform.orchestration.project import Project, StepListener, read_project
from ecommerce_platform.orchestration.resources import warehouse_resource
from ecommerce_platform.orchestration.retention import prune_job
from ecommerce_platform.orchestration.schedules import schedules
from ecommerce_platform.orchestration.sensors import alert_sensor, drop_sensor, reaper_sensor, report_sensor
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ecommerce_platform.orchestration.findings import Watched


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
    return declare(read_project(settings, models, listener))


def declare(project: Project) -> dg.Definitions:
    """All assets, checks and resources of a project, which nothing reads or parses a second time."""
    from ecommerce_platform.orchestration.assets.expectations import expectation_checks
    from ecommerce_platform.orchestration.assets.profiles import profile_checks
    from ecommerce_platform.orchestration.assets.published import snapshot_asset
    from ecommerce_platform.orchestration.instance import write_batches

    write_batches()
    settings, assets = project.settings, table_assets(project)
    published = [key for asset in assets for key in asset.keys if key.path[0] != "bronze"]
    assets.append(snapshot_asset(project, published, lambda: watched_tables(project, [*assets, *checks])))
    _no_cycles(assets)
    keys = {key for asset in assets for key in asset.keys}
    expectations, drifts = expectation_checks(project, keys), profile_checks(project, keys)
    checks = [*expectations, *drifts]
    found = [*jobs(assets, expectations), prune_job()]
    if project.source.file.database:
        found.append(extract_job(settings, project.source))
    names = {job.name for job in found}
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        resources={"warehouse": warehouse_resource(settings)},
        jobs=found,
        schedules=[
            s for s in schedules(project.source, lambda: current_days(settings, project.source)) if s.job_name in names
        ],
        sensors=[
            drop_sensor(settings, project.source, shown=project.days),
            reaper_sensor(),
            automation_sensor(),
            alert_sensor(settings, project.source, lambda: watched_tables(project, [*assets, *checks])),
            report_sensor(settings, project.source),
        ],
        executor=dg.in_process_executor,
    )


def table_assets(project: Project) -> list[dg.AssetsDefinition]:
    """The assets of raw tables, and of every table of the catalog that is made and means something with this source."""
    # They register what fills a table.
    from ecommerce_platform.orchestration.assets import decisions, insight, ml, profiles  # noqa: F401

    assets = [bronze_asset(project, raw) for raw in project.source.file.tables]
    for name, table in project.catalog.tables.items():
        contract = table.contract
        if contract.entity:
            assets.append(entity_asset(project, contract))
        elif contract.history_of:
            assets.append(history_asset(project, contract))
        elif contract.filled_by:
            assets += filled_assets(project, contract)
        elif name in project.models:
            assets.append(model_asset(project, project.models[name]))
    return assets


def watched_tables(project: Project, assets: Iterable[dg.AssetsDefinition]) -> Watched:
    """What alerts and the manifest tell of: tables, and the checks declared with them or apart."""
    from ecommerce_platform.orchestration.findings import watched

    file = project.source.file
    return watched(assets, project.contracts, file.alerts, file.currency)


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


def watched(project: Project) -> Watched:
    """What alerts look at: every table and check of these definitions."""
    definitions = declare(project)
    given = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    return watched_tables(project, [asset for asset in given if isinstance(asset, dg.AssetsDefinition)])
