"""Profiles of loads and what is unusual about them: assets and checks, declarations only.

What a profile is and when a load is unlike those before it is `quality`'s business.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.assets.declare import Outcome, Step, as_failure, asset_key, markdown_table, preview
from ecommerce_platform.assets.resources import WarehouseResource
from ecommerce_platform.assets.tables import Ground, filled_asset

if TYPE_CHECKING:
    from ecommerce_platform.quality.drift_report import Report

PROFILES, DRIFT = "gold.table_profiles", "gold.profile_drift"
#: Checks on every entity that has profiles, and the step that evaluates them.
LOAD_SIZE, DRIFTS, STEP = "load_size", "drift", "profile_checks"


def profile_assets(ground: Ground) -> list[dg.AssetsDefinition]:
    """`gold.table_profiles` and `gold.profile_drift`."""
    profiles, drift = ground.catalog.contract(PROFILES), ground.catalog.contract(DRIFT)
    file = ground.source.file
    entities = [entity for entity, mappings in ground.compiled.items() if mappings]

    def profile(step: Step) -> Outcome:
        from ecommerce_platform.quality.pictures import pictures
        from ecommerce_platform.quality.profiles import refresh_profiles

        with step.connect() as con:
            written = refresh_profiles(con, profiles, ground.compiled, again=step.again, full_checks=step.full_checks)
            shown: dict[str, Any] = {"preview": preview(con, profiles)}
            if written.changed:
                shown |= {entity: dg.MetadataValue.md(text) for entity, text in pictures(con).items()}
        return Outcome(written, shown)

    def judge(step: Step) -> Outcome:
        from ecommerce_platform.quality.drift import refresh_drift

        with step.connect() as con:
            written = refresh_drift(con, drift, file.drift, file.anomalies, full_checks=step.full_checks)
            return Outcome(written, {"preview": preview(con, drift)})

    loaded = [f"silver.{entity}" for entity in entities]
    return [
        filled_asset(ground, profiles, profile, loaded, file.path),
        filled_asset(ground, drift, judge, [PROFILES], file.path),
    ]


def profile_checks(ground: Ground, assets: Collection[dg.AssetKey]) -> list[dg.AssetChecksDefinition]:
    """The step that tells on each entity whether its newest loads are like those before; none without profiles.

    Args:
        ground: what everything is declared from.
        assets: those there are.
    """
    if asset_key(DRIFT) not in assets:
        return []
    rules = ground.source.file.drift
    specs = []
    for entity, mappings in ground.compiled.items():
        if not mappings:
            continue
        for name, meaning in (
            (
                LOAD_SIZE,
                "The loads of the last days brought about as many rows as the ones before them let expect (a load that is "
                f"half empty, or delivered twice): not more than {rules.rows:.0%} fewer, unless the source's loads usually vary more.",
            ),
            (
                DRIFTS,
                "Nulls, numbers, times and categories of the loads of the last days are spread as in the loads before "
                "them, and no value is new. What counts is in `drift:` of source.yml.",
            ),
        ):
            specs.append(
                dg.AssetCheckSpec(
                    name,
                    asset=asset_key(f"silver.{entity}"),
                    additional_deps=[asset_key(DRIFT)],
                    description=f"{meaning} Looked at are the loads up to {rules.lately_days} days before the newest.",
                )
            )

    # can_subset: one table's check may be executed alone.
    @dg.multi_asset_check(
        name=STEP,
        specs=specs,
        can_subset=True,
        description="Tells which of the newest loads are unlike those before them.",
    )
    def checks(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.AssetCheckResult]:
        from ecommerce_platform.quality.drift_report import read_reports
        from ecommerce_platform.quality.pictures import pictures

        with as_failure(), warehouse.get_connection(context.log) as con:
            reports = read_reports(con, rules.lately_days)
            drifted = [entity for (entity, check), report in reports.items() if check == DRIFTS and report.alarms]
            shown = pictures(con, drifted) if drifted else {}
        for key in sorted(context.selected_asset_check_keys):
            entity = key.asset_key.path[-1]
            yield _result(key, reports.get((entity, key.name)), shown.get(entity) if key.name == DRIFTS else None)

    return [checks]


def _result(key: dg.AssetCheckKey, report: "Report | None", picture: str | None) -> dg.AssetCheckResult:
    alarms = report.alarms if report else []
    metadata: dict[str, Any] = {
        "loads_that_warn": len({(a.raw_table, a.day) for a in alarms}),
        "newest_loads": dg.MetadataValue.md(report.state if report else "no load yet"),
    }
    if picture:
        metadata["picture"] = dg.MetadataValue.md(picture)
    if alarms:
        metadata["unlike_the_loads_before"] = dg.MetadataValue.md(
            markdown_table(
                ["load", "raw table", "column", "measure", "what"],
                [(str(a.day), a.raw_table, a.column, a.measure, a.text) for a in alarms[:50]],
            )
        )
    return dg.AssetCheckResult(
        passed=not alarms,
        check_name=key.name,
        asset_key=key.asset_key,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{a.day}: {a.text}" for a in alarms[:5])
        + (f"; {len(alarms) - 5} more" if len(alarms) > 5 else "")
        or None,
        metadata=metadata,
    )
