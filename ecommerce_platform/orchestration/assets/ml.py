"""Assets of the models, made from their declarations: the training of each, and every table that it fills.

A contract that says `filled_by: ml.<module>` names the module below `ecommerce_platform` whose `MODEL` fills it. How a model
is trained, judged, stored and scored is in `ml/lifecycle.py`.
"""

import dagster as dg

from ecommerce_platform.contracts.contract import Contract
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.lifecycle import Model, Place
from ecommerce_platform.ml.models import PREFIX, model_of
from ecommerce_platform.orchestration.assets.declare import (
    Outcome,
    Step,
    asset_key,
    check_specs,
    column_schema,
    preview,
    table_asset,
)
from ecommerce_platform.orchestration.assets.filled import filled_asset, fills
from ecommerce_platform.orchestration.project import Project


@fills(PREFIX)
def model_assets(project: Project, contract: Contract) -> list[dg.AssetsDefinition]:
    """The asset of a table that a model fills; with the first of its tables, also that of its training.

    None where the source lacks what the model is made from.
    """
    model = model_of(contract)
    if model.name not in project.trained:
        return []
    # As with a SELECT: what means nothing without an entity that the source does not fill is not there.
    lacking = project.empty.intersection(f"silver.{entity}" for entity in contract.requires)
    scores = [] if lacking else [_scores(project, contract, model)]
    return [_training(project, model), *scores] if contract.table == next(iter(model.scored_on)) else scores


def _training(project: Project, model: Model) -> dg.AssetsDefinition:
    registry = project.catalog.contract(lifecycle.REGISTRY)
    key = asset_key(model.key)

    def work(step: Step) -> Outcome:
        done = lifecycle.train(model, _place(project, step), full=step.full_training, when_due=step.when_due)
        return Outcome(done.written, _shown(done))

    return table_asset(
        key,
        work,
        checks=check_specs(registry, key),
        listener=project.listener,
        deps=[asset_key(table) for table in model.reads(model.trained_on)],
        group_name="ml",
        owners=list(registry.owners),
        kinds={"scikitlearn", "python"},
        tags={"model": model.name, "cadence": "weekly"},
        description=f"Trains **{model.title}**. {model.purpose}\n\nJudged on later data than it was trained on against "
        f"`{model.baseline}`; if it does not win, the baseline is what {', '.join(f'`{t}`' for t in model.scored_on)} "
        "holds. Writes a row of `ml.models`, the rows of `ml.evaluations`, and the artifact with its card under `models/`. "
        "Trains again only if what it is trained on has changed; a build that does not ask for it leaves it alone for a week.",
        metadata={"dagster/column_schema": column_schema(registry.columns), "dagster/table_name": registry.table},
    )


def _shown(done: lifecycle.Training) -> dict[str, object]:
    """What the UI shows of a training."""
    if done.card is None or done.trained is None:
        return {}
    return {
        "version": done.card.version,
        "promoted": done.card.promoted,
        "baseline": done.card.baseline,
        "card": dg.MetadataValue.md(done.trained.page),
    }


def _scores(project: Project, contract: Contract, model: Model) -> dg.AssetsDefinition:
    def work(step: Step) -> Outcome:
        written, version = lifecycle.score(
            model, _place(project, step), contract.table, when_due=step.when_due, full_checks=step.full_checks
        )
        if version is None:
            return Outcome(written)
        with step.connect() as con:
            return Outcome(written, {"model_version": version, "preview": preview(con, contract)})

    reads = [*model.reads(model.scored_on[contract.table]), model.key]
    return filled_asset(project, contract, work, reads)


def _place(project: Project, step: Step) -> Place:
    return Place(step.connect, project.settings.models, project.catalog)
