"""The business expectations as asset checks: declarations only.

One check per table that has a suite, all of them in one step: Great Expectations takes seconds to import. What the
rules are is in `quality/expectations/`, how they are asked and which answers still count in `quality/`.
"""

from collections.abc import Collection, Iterator

import dagster as dg

from ecommerce_platform.orchestration.assets.declare import as_failure, asset_key, markdown_table
from ecommerce_platform.orchestration.partitions import FULL_CHECKS
from ecommerce_platform.orchestration.project import Project
from ecommerce_platform.orchestration.resources import WarehouseResource
from ecommerce_platform.quality.data_docs import page
from ecommerce_platform.quality.gx import Verdict
from ecommerce_platform.quality.suites import Suite
from ecommerce_platform.quality.verdicts import QualityGate, SuiteResult
from ecommerce_platform.warehouse.contract_checks import SHOWN

#: Name of the check on each table, and of the step that evaluates them.
EXPECTATIONS = "expectations"


def quality_gate(project: Project, warehouse: WarehouseResource) -> QualityGate:
    """What asks the rules of this source."""
    return QualityGate(warehouse.get_connection, project.catalog, project.suites, project.settings.data_docs)


def expectation_checks(project: Project, assets: Collection[dg.AssetKey]) -> list[dg.AssetChecksDefinition]:
    """The step that evaluates the suites, or none if there are no suites.

    Args:
        project: what everything is declared from.
        assets: those there are; ledgers, which rules may look at, are none.
    """
    suites = {table: suite for table, suite in project.suites.items() if asset_key(table) in assets}
    if not suites:
        return []

    # can_subset: one table's check may be executed alone.
    @dg.multi_asset_check(
        name=EXPECTATIONS,
        specs=[_spec(table, suite, assets) for table, suite in suites.items()],
        can_subset=True,
        description="Asks the business expectations: once for all tables, and only if something has changed.",
    )
    def expectations(
        context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.AssetCheckResult]:
        again = context.run.tags.get(FULL_CHECKS) == "true"
        with as_failure():
            judged = quality_gate(project, warehouse).evaluate(again=again, log=context.log)
        errors = []
        for key in sorted(context.selected_asset_check_keys):
            found = judged[".".join(key.asset_key.path)]
            yield _result(project, key.asset_key, found)
            errors += [f"{found.table}.{v.rule}" for v in found.errors]
        if errors:
            # Nothing is known to be wrong with the data: the rules have to be put right.
            raise dg.Failure(
                f"could not be asked: {', '.join(errors)}; the checks of these tables say why", allow_retries=False
            )

    return [expectations]


def _spec(table: str, suite: Suite, assets: Collection[dg.AssetKey]) -> dg.AssetCheckSpec:
    """A suite as the UI lists it."""
    return dg.AssetCheckSpec(
        EXPECTATIONS,
        asset=asset_key(table),
        # Rules look at other tables, too: these come first.
        additional_deps=[asset_key(t) for t in suite.reads if t != table and asset_key(t) in assets],
        description=suite.description + "\n\n" + "\n".join(f"- {rule.rule}" for rule in suite.rules),
    )


def _result(project: Project, key: dg.AssetKey, judged: SuiteResult) -> dg.AssetCheckResult:
    """The answers about one table as the UI shows them."""
    wrong = [*judged.errors, *judged.broken]
    stops = any(v.blocks for v in judged.verdicts) or judged.errors
    shown = [v.examples[0] for v in wrong if v.outcome != "error" and v.examples]
    settings = project.settings
    return dg.AssetCheckResult(
        passed=not wrong,
        check_name=EXPECTATIONS,
        asset_key=key,
        severity=dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN,
        description="; ".join(v.explain() for v in wrong) or None,
        metadata={
            "rules": dg.MetadataValue.md(
                markdown_table(
                    ["rule", "answer", "rows", "e.g."],
                    [(v.sentence, _answer(v), _rows(v), "; ".join(v.examples) or v.detail) for v in judged.verdicts],
                )
            ),
            **({SHOWN: dg.MetadataValue.json(shown)} if shown else {}),
            "broken": len(judged.broken),
            "could_not_be_asked": len(judged.errors),
            "asked_at": dg.MetadataValue.timestamp(judged.asked_at.timestamp()),
            # A browser follows no link from a page to a file, so they are served; the file is for everybody else.
            "data_docs": dg.MetadataValue.url(f"{settings.data_docs_url}/{settings.source_name}/{judged.table}.html"),
            "data_docs_file": dg.MetadataValue.path(str(page(settings.data_docs, judged.table))),
        },
    )


def _answer(verdict: Verdict) -> str:
    if verdict.outcome == "broken":
        return "**broken**, blocks publishing" if verdict.blocks else "**broken**"
    return {"held": "holds", "error": "**could not be asked**"}.get(verdict.outcome, verdict.outcome)


def _rows(verdict: Verdict) -> str:
    if verdict.found is None:
        return ""
    return f"{verdict.found:,}" + (f" ({verdict.share:.2%})" if verdict.share and verdict.found else "")
