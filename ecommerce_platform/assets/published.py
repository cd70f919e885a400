"""The asset of the published snapshots; how they are written is `warehouse/publish.py`'s business."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.assets.declare import Outcome, Step, table_asset
from ecommerce_platform.assets.expectations import court
from ecommerce_platform.assets.tables import RETRY, Ground
from ecommerce_platform.automation.conditions import publish_condition
from ecommerce_platform.automation.jobs import SNAPSHOT
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from ecommerce_platform.automation.findings import Watched

#: Seconds that a publishing run waits for tables that lag behind what they are made from.
_WAIT = 1800.0


def snapshot_asset(ground: Ground, tables: Sequence[dg.AssetKey], seen: "Callable[[], Watched]") -> dg.AssetsDefinition:
    """The asset that publishes all tables.

    Args:
        ground: what everything is declared from.
        tables: those that are published.
        seen: gives all tables and checks, for what the manifest tells of them.
    """
    settings = ground.settings

    def work(step: Step) -> Outcome:
        from ecommerce_platform.automation.about import about_tables
        from ecommerce_platform.warehouse.publish import publish

        snapshot = publish(
            step.connect,
            ground.catalog,
            settings.published,
            settings.source_name,
            hash_key=settings.hash_key.get_secret_value() if settings.hash_key else None,
            run_id=step.context.run.run_id,
            keep=settings.keep_snapshots,
            wait_seconds=_WAIT,
            court=court(ground, step.warehouse),
            about=about_tables(step.context.instance, ground, seen()),
            log=step.log,
        )
        copied: dict[str, Any] = {}
        if settings.publish_url:
            from ecommerce_platform.warehouse.mirror import mirror

            # Also when nothing was published now: an earlier copy may have failed.
            copy = mirror(settings.published, settings.publish_url, keep=settings.keep_snapshots, log=step.log)
            copied = {"url": dg.MetadataValue.url(copy.url), "tables_uploaded": len(copy.uploaded)}
        rows = sum(snapshot.tables.values())
        return Outcome(
            Written(rows, 0, 0, 0, (), changed=not snapshot.unchanged),
            {
                "snapshot": snapshot.id,
                "folder": dg.MetadataValue.path(str(snapshot.folder)),
                "tables": len(snapshot.tables),
                "tables_written": len(snapshot.tables) - len(snapshot.linked),
                **copied,
            },
        )

    return table_asset(
        SNAPSHOT,
        work,
        checks=[],
        listener=ground.listener,
        retry=RETRY,
        deps=list(tables),
        group_name="published",
        kinds={"parquet"},
        owners=["team:data"],
        automation_condition=publish_condition(),
        description="One consistent state of all tables as Parquet, for dashboards, the API, notebooks and BI tools, which "
        "never open the warehouse. Unchanged tables are hard links; the switch is one step.",
    )
