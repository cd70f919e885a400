"""Profiles of loads and what is unusual about them: assets and checks, declarations only.

What a profile is and when a load is unlike those before it is in `quality`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    as_failure,
    asset_key,
    markdown_table,
    preview,
)
from ecommerce_platform.orchestration.assets.filled import filled_asset, fills
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.orchestration.resources import WarehouseResource

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.contracts.source import DriftRules
    from ecommerce_platform.quality.drift_report import Report
    from ecommerce_platform.quality.swapped_dates import DaysAndMonths
    from ecommerce_platform.silver.mapping import CompiledMapping

PROFILES, DRIFT = "gold.table_profiles", "gold.profile_drift"
#: Checks on every entity that has profiles, and the step that evaluates them.
LOAD_SIZE, DRIFTS, DAYS, STEP = "load_size", "drift", "day_and_month", "profile_checks"


@fills("table_profiles")
def table_profiles(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """What each load brought, column by column."""

    def work(step: Step) -> Outcome:
        from ecommerce_platform.quality.pictures import pictures
        from ecommerce_platform.quality.profiles import refresh_profiles

        with step.connect() as con:
            written = refresh_profiles(con, contract, project.compiled, again=step.again, full_checks=step.full_checks)
            shown: dict[str, Any] = {"preview": preview(con, contract)}
            if written.changed:
                shown |= {entity: dg.MetadataValue.md(text) for entity, text in pictures(con).items()}
        return Outcome(written, shown)

    loaded = [f"silver.{entity}" for entity, mappings in project.compiled.items() if mappings]
    return [filled_asset(project, contract, work, loaded, project.source.file.path)]


@fills("profile_drift")
def profile_drift(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """Which loads are unlike those before them."""
    file = project.source.file

    def work(step: Step) -> Outcome:
        from ecommerce_platform.quality.drift import refresh_drift

        with step.connect() as con:
            written = refresh_drift(con, contract, file.drift, file.anomalies, full_checks=step.full_checks)
            return Outcome(written, {"preview": preview(con, contract)})

    return [filled_asset(project, contract, work, [PROFILES], file.path)]


def _judge_days(con: "DuckDBPyConnection", project: Project, entity: str) -> "Mapping[tuple[str, str], DaysAndMonths]":
    from ecommerce_platform.quality.swapped_dates import judge_entity

    filled = {m.raw_table: m.expressions.keys() for m in project.compiled[entity]}
    return judge_entity(con, project.catalog.contract(f"silver.{entity}"), filled)


def profile_checks(project: Project, assets: Collection[dg.AssetKey]) -> list[dg.AssetChecksDefinition]:
    """The step that tells on each entity whether its newest loads are like those before; none without profiles.

    Args:
        project: what everything is declared from.
        assets: those there are.
    """
    if asset_key(DRIFT) not in assets:
        return []
    rules = project.source.file.drift
    specs = [spec for entity, found in project.compiled.items() if found for spec in _specs(entity, found, rules)]

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
            days = {
                key: _judge_days(con, project, key.asset_key.path[-1])
                for key in context.selected_asset_check_keys if key.name == DAYS
            }  # fmt: skip
        for key in sorted(context.selected_asset_check_keys):
            entity = key.asset_key.path[-1]
            if key in days:
                yield _days_and_months(key, days[key])
            else:
                yield _result(key, reports.get((entity, key.name)), shown.get(entity) if key.name == DRIFTS else None)

    return [checks]


def _specs(entity: str, mappings: Sequence["CompiledMapping"], rules: "DriftRules") -> Iterator[dg.AssetCheckSpec]:
    """The checks on an entity."""
    key = asset_key(f"silver.{entity}")
    lately = f"Looked at are the loads up to {rules.lately_days} days before the newest."
    yield dg.AssetCheckSpec(
        LOAD_SIZE,
        asset=key,
        additional_deps=[asset_key(DRIFT)],
        description="The loads of the last days brought about as many rows as the ones before them let expect (a load that is "
        f"half empty, or delivered twice): not more than {rules.rows:.0%} fewer, unless the source's loads usually vary more. "
        f"{lately}",
    )
    yield dg.AssetCheckSpec(
        DRIFTS,
        asset=key,
        additional_deps=[asset_key(DRIFT)],
        description="Nulls, numbers, times and categories of the loads of the last days are spread as in the loads before "
        f"them, and no value is new. What counts is in `drift:` of source.yml. {lately}",
    )
    if _dated(mappings):
        yield dg.AssetCheckSpec(
            DAYS,
            asset=key,
            description="No date or time leaves gaps that close when day and month change places where the day is at most 12, "
            "as files that were read in the wrong order do. Fewer than 30 such days are too few to tell.",
        )


def _dated(mappings: Collection["CompiledMapping"]) -> bool:
    return any(m.contract.columns[name].type in ("DATE", "TIMESTAMP") for m in mappings for name in m.expressions)


def _days_and_months(key: dg.AssetCheckKey, found: "Mapping[tuple[str, str], DaysAndMonths]") -> dg.AssetCheckResult:
    swapped = [f"{column} of {raw}: {said}" for (column, raw), said in found.items() if said.verdict == "swapped"]
    rows = [(column, raw, said.verdict, str(said)) for (column, raw), said in found.items()]
    return dg.AssetCheckResult(
        passed=not swapped,
        check_name=key.name,
        asset_key=key.asset_key,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(swapped) or None,
        metadata={
            "columns": dg.MetadataValue.md(markdown_table(["column", "raw table", "day and month", "days"], rows))
        },
    )


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
