"""Assets of decisions: declarations; what is decided is worked out in `decisions`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from ecommerce_platform import decisions
from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.decisions.selects import select_file
from ecommerce_platform.ml.models import PREFIX, model_of
from ecommerce_platform.orchestration.assets.declare import Outcome, Step, preview
from ecommerce_platform.orchestration.assets.filled import filled_asset, fills
from ecommerce_platform.orchestration.project import Project

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.decisions.recommendation import Decided

#: Tables of decisions; `ml.decisions` has a row for each.
DECISIONS = (
    "experiment_results", "uplift_scores", "retention_actions", "retention_simulation", "cross_sell", "delivery_plan", "staffing_plan",
    "inventory_plan", "budget_allocation", "price_recommendations", "roi_scenarios",
)  # fmt: skip
_HERE = Path(decisions.__file__).parent


@fills("experiment_results")
def _experiments(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.trials import READS, SELECTS, decide_experiments

    plans = project.experiments
    code = ["trials.py", "experiments.py", "statistics.py", "power.py", *SELECTS]
    return _decision(project, contract, READS, code, plans, lambda con: decide_experiments(con, plans))


@fills("uplift_scores")
def _uplift(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.uplift import READS, SELECTS, decide_uplift

    plans = project.experiments
    code = ["uplift.py", "effects.py", "trials.py", "statistics.py", *SELECTS]
    beside = [project.contracts["ml.uplift_curves"]]
    return _decision(project, contract, READS, code, plans, lambda con: decide_uplift(con, plans), beside=beside)


@fills("retention_actions")
def _retention(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.retention import READS, SELECTS, decide_retention

    plans, rules = project.experiments, project.source.file.decisions.retention
    code = ["retention.py", "policy.py", "uplift.py", "effects.py", "trials.py", "statistics.py", *SELECTS]
    beside = [project.contracts["ml.retention_policies"]]
    return _decision(
        project, contract, READS, code, (plans, rules), lambda con: decide_retention(con, plans, rules), beside=beside
    )


@fills("retention_simulation")
def _retention_trial(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.retention_trial import READS, SELECTS, decide_retention_trial

    plans, rules = project.experiments, project.source.file.decisions.retention_trial
    code = ["retention_trial.py", "uplift.py", "trials.py", "power.py", *SELECTS]
    return _decision(
        project, contract, READS, code, (plans, rules), lambda con: decide_retention_trial(con, plans, rules)
    )


@fills("cross_sell")
def _cross_sell(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.cross_sell import READS, SELECTS, decide_cross_sell

    rules = project.source.file.decisions.cross_sell
    return _decision(
        project, contract, READS, ["cross_sell.py", *SELECTS], rules, lambda con: decide_cross_sell(con, rules)
    )


@fills("delivery_plan")
def _delivery(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.delivery import READS, SELECTS, decide_delivery

    return _decision(project, contract, READS, ["delivery.py", "statistics.py", *SELECTS], None, decide_delivery)


@fills("staffing_plan")
def _staffing(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.staffing import READS, SELECTS, decide_staffing

    rules = project.source.file.decisions.staffing
    return _decision(
        project, contract, READS, ["staffing.py", *SELECTS], rules, lambda con: decide_staffing(con, rules)
    )


@fills("inventory_plan")
def _stock(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.stock import READS, SELECTS, decide_stock

    rules = project.source.file.decisions.inventory
    return _decision(project, contract, READS, ["stock.py", *SELECTS], rules, lambda con: decide_stock(con, rules))


@fills("budget_allocation")
def _budget(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.budget import READS, SELECTS, decide_budget

    rules = project.source.file.decisions.budget
    return _decision(project, contract, READS, ["budget.py", *SELECTS], rules, lambda con: decide_budget(con, rules))


@fills("price_recommendations")
def _prices(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.prices import READS, SELECTS, decide_prices

    rules = project.source.file.decisions.prices
    return _decision(project, contract, READS, ["prices.py", *SELECTS], rules, lambda con: decide_prices(con, rules))


@fills("roi_scenarios")
def _roi(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    from ecommerce_platform.decisions.roi import READS, decide_roi

    rules = project.source.file.decisions
    figures = (rules.discount_rate, rules.investments)
    # The last one made: `ml.decisions` is whole then.
    before = [f"ml.{name}" for name in DECISIONS if name != contract.name]
    return _decision(
        project, contract, READS, ["roi.py", "returns.py"], figures, lambda con: decide_roi(con, rules), before
    )


def _decision(
    project: Project,
    contract: Contract,
    reads: Sequence[str],
    code: Sequence[str],
    rules: Any,
    decide: Callable[["DuckDBPyConnection"], "Decided"],
    after: Sequence[str] = (),
    beside: Sequence[Contract] = (),
) -> list[dg.AssetsDefinition]:
    """The asset of a decision's table; `code` are its modules and SELECTs, `after` tables that are only to be made before it,
    `beside` those that are written with it."""
    ledger = project.contracts["ml.decisions"]
    unmade = [t for t in reads if _is_unmade(project, t)]
    there = [t for t in reads if t not in unmade and (project.catalog.tables[t].sql is None or t in project.models)]

    files = [str(_HERE / name if name.endswith(".py") else select_file(name)) for name in code]

    def work(step: Step) -> Outcome:
        from ecommerce_platform.decisions.recommendation import refresh_decision, refused

        lacking = refused(f"the source lacks what {table} is made from" for table in unmade) if unmade else None
        with step.connect() as con:
            written = refresh_decision(
                con, contract, ledger, (lambda _: lacking) if lacking else decide, there, files, rules,
                beside=beside, full_checks=step.full_checks, when_due=step.when_due,
            )  # fmt: skip
            return Outcome(written, {"preview": preview(con, contract)})

    return [filled_asset(project, contract, work, [*there, *after], project.source.file.path)]


def _is_unmade(project: Project, table: str) -> bool:
    """Whether a table is one of a model that this source does not train."""
    contract = project.catalog.contract(table)
    is_scored = (contract.filled_by or "").startswith(PREFIX)
    return is_scored and model_of(contract).name not in project.trained
