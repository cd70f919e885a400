"""Publishing from the command line: in this process, recorded like any run of the job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ecommerce_platform.errors import PlatformError
from ecommerce_platform.operations.in_process import FROM_HERE, NO_CONSOLE, quiet_dagster
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from ecommerce_platform.publishing.publish import Progress, Snapshot

_log = logging.getLogger(__name__)


def _job(settings: Settings, asset: dg.AssetsDefinition) -> dg.JobDefinition:
    """The job that publishes, by itself: without the assets that it would publish."""
    import dagster as dg

    from ecommerce_platform.orchestration.jobs import PUBLISH_JOB, SNAPSHOT
    from ecommerce_platform.orchestration.resources import warehouse_resource

    definitions = dg.Definitions(
        assets=[asset],
        jobs=[dg.define_asset_job(PUBLISH_JOB, selection=dg.AssetSelection.assets(SNAPSHOT))],
        resources={"warehouse": warehouse_resource(settings)},
        executor=dg.in_process_executor,
    )
    return definitions.resolve_job_def(PUBLISH_JOB)


def run_publish(
    settings: Settings, wait_seconds: float, *, force: bool = False, progress: Progress | None = None
) -> Snapshot:
    """Publishes in this process, recorded in DAGSTER_HOME like any run of the job.

    Args:
        settings: where and what.
        wait_seconds: how long to wait for tables that lag behind their inputs.
        force: publish although tables lag, or break rules that block.
        progress: called with table, number of the table, number of tables.

    Raises:
        PlatformError: what `publishing.publish.publish` raises.
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    import dagster as dg

    from ecommerce_platform.orchestration.assembly import watched
    from ecommerce_platform.orchestration.assets.published import ByHand, snapshot_asset
    from ecommerce_platform.orchestration.instance import open_instance
    from ecommerce_platform.orchestration.project import read_project

    project = read_project(settings)
    seen = watched(project)
    asked = ByHand(wait_seconds, force, progress, _log)
    tables = [dg.AssetKey(table.split(".")) for table in seen.reads if not table.startswith(("bronze.", "published."))]
    job = _job(settings, snapshot_asset(project, tables, lambda: seen, asked))
    with open_instance(settings) as instance, quiet_dagster():
        done = job.execute_in_process(instance=instance, raise_on_error=False, tags=FROM_HERE, run_config=NO_CONSOLE)
    if asked.error is not None:
        raise asked.error
    if asked.snapshot is None:
        raise PlatformError(f"the run {done.run_id} failed before it published", fix="see its log in the UI")
    return asked.snapshot
