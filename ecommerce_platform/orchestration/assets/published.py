"""The asset of the published snapshots. `publishing/publish.py` writes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.orchestration.assets.bronze import RETRY
from ecommerce_platform.orchestration.assets.declare import Outcome, Step, table_asset
from ecommerce_platform.orchestration.assets.expectations import quality_gate
from ecommerce_platform.orchestration.conditions import publish_condition
from ecommerce_platform.orchestration.jobs import SNAPSHOT
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from ecommerce_platform.orchestration.findings import Watched
    from ecommerce_platform.publishing.publish import Progress, Snapshot

#: Seconds that a publishing run waits for tables that lag behind what they are made from.
_WAIT = 1800.0


@dataclass
class ByHand:
    """A publish that somebody waits for: what they asked for, and what has come of it."""

    wait_seconds: float
    force: bool = False
    progress: "Progress | None" = None
    #: Where waiting is told; None for the step's own log.
    log: Any = None
    snapshot: "Snapshot | None" = None
    error: BaseException | None = None


def snapshot_asset(
    project: Project, tables: Sequence[dg.AssetKey], seen: "Callable[[], Watched]", by_hand: ByHand | None = None
) -> dg.AssetsDefinition:
    """The asset that publishes all tables.

    Args:
        project: what everything is declared from.
        tables: those that are published.
        seen: gives all tables and checks, for what the manifest tells of them.
        by_hand: who waits for it: told what has come of it, instead of trying again. They copy it elsewhere, too.
    """
    settings, asked = project.settings, by_hand or ByHand(_WAIT)

    def work(step: Step) -> Outcome:
        try:
            snapshot = asked.snapshot = _publish(project, step, seen(), asked)
        except BaseException as error:
            asked.error = error
            raise
        # Also when nothing was published now: an earlier copy may have failed.
        copied = _copy(settings, step) if by_hand is None else {}
        return _outcome(snapshot, copied)

    return table_asset(
        SNAPSHOT,
        work,
        checks=[],
        listener=project.listener,
        retry=None if by_hand else RETRY,
        deps=list(tables),
        group_name="published",
        kinds={"parquet"},
        owners=["team:data"],
        automation_condition=publish_condition(),
        description="One consistent state of all tables as Parquet, for dashboards, the API, notebooks and BI tools, which "
        "never open the warehouse. Unchanged tables are hard links; the switch is one step.",
    )


def _outcome(snapshot: "Snapshot", copied: Mapping[str, Any]) -> Outcome:
    return Outcome(
        Written(sum(snapshot.tables.values()), 0, 0, 0, (), changed=not snapshot.unchanged),
        {
            "snapshot": snapshot.id,
            "folder": dg.MetadataValue.path(str(snapshot.folder)),
            "tables": len(snapshot.tables),
            "tables_written": len(snapshot.tables) - len(snapshot.linked),
            **copied,
        },
    )


def _publish(project: Project, step: Step, seen: "Watched", asked: ByHand) -> "Snapshot":
    from ecommerce_platform.orchestration.about import about_tables
    from ecommerce_platform.publishing.publish import PublishOptions, publish

    settings = project.settings
    options = PublishOptions(
        hash_key=settings.hash_key.get_secret_value() if settings.hash_key else None,
        run_id=step.context.run.run_id,
        keep=settings.keep_snapshots,
        wait_seconds=asked.wait_seconds,
        force=asked.force,
        progress=asked.progress,
        gate=quality_gate(project, step.warehouse),
        about=about_tables(step.context.instance, project, seen),
        log=asked.log or step.log,
    )
    return publish(step.connect, project.catalog, settings.published, settings.source_name, options)


def _copy(settings: Settings, step: Step) -> dict[str, Any]:
    """Copies the snapshot to where the settings say; what there is to say of it."""
    from ecommerce_platform.publishing.delta import copy_to_delta
    from ecommerce_platform.publishing.mirror import mirror

    told: dict[str, Any] = {}
    if settings.delta_dir:
        tables = copy_to_delta(settings.published, settings.delta_dir, keep=settings.keep_snapshots, log=step.log)
        told |= {"delta": dg.MetadataValue.path(str(tables.folder)), "delta_tables_written": len(tables.written)}
    if settings.publish_url:
        copy = mirror(settings.published, settings.publish_url, keep=settings.keep_snapshots, log=step.log)
        told |= {"url": dg.MetadataValue.url(copy.url), "tables_uploaded": len(copy.uploaded)}
    return told
