"""Commands about models: training one, which version scores and why, choosing another, scoring rows of a file.

What builds train, and how, is in `ml.lifecycle`; who is who is learnt in `persons`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecommerce_platform.cli.arguments import settings_with_warehouse
from ecommerce_platform.cli.console import bar, say, short, table

if TYPE_CHECKING:
    import polars as pl

    from ecommerce_platform.ml.lifecycle import Place
    from ecommerce_platform.settings import Settings

app = typer.Typer(
    invoke_without_command=True,
    help="Versions of models: which one scores, and why; `promote` pins one, `rollback` takes the one before.",
)
#: Learnt on request only, and by no table's `filled_by`.
IDENTITY = "identity"


def train(
    model: Annotated[str, typer.Argument(help="The model: one of `ecommerce models`, or identity (who is who).")],
    full: Annotated[
        bool, typer.Option("--full", help="All methods and folds, not the quick choice of a build.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 1,
) -> None:
    """Trains a model on the warehouse as it is; the next build scores with it, unless another version is pinned."""
    if model == IDENTITY:
        _train_identity(seed)
        return
    from ecommerce_platform.ml import lifecycle
    from ecommerce_platform.ml.models import find_model
    from ecommerce_platform.warehouse.registry import pinned_version

    place = _place(settings_with_warehouse("there is nothing to learn from"))
    found = find_model(place.catalog, model)
    with bar(f"training {model}"):
        done = lifecycle.train(found, place, seed=seed, full=full)
    if done.trained is None or done.card is None:
        say(f"nothing that {model} is trained on has changed: its newest version stays")
        return
    card, compared = done.card, done.trained.evaluation.comparisons
    rows = [(c.fold, c.metric, c.value, c.baseline_value, c.interval_low, c.interval_high) for c in compared]
    names = ["fold", "metric", "model", card.baseline, "difference from", "to"]
    table(f"{found.title}, on later data", names, [tuple(map(_shown, row)) for row in rows], right={2, 3, 4, 5})
    say(f"trained {model} {card.version}: {done.trained.published_as} is what scores say")
    say(f"[dim]{short(place.models / card.artifact_path / 'card.md')}[/]")
    with place.connect() as con:
        if pinned := pinned_version(con, model):
            say(f"[yellow]note:[/] {pinned} is pinned and stays in force (ecommerce models promote {model} newest)")


def _train_identity(seed: int) -> None:
    from ecommerce_platform.contracts.source import read_source
    from ecommerce_platform.orchestration.resources import connection_config
    from ecommerce_platform.persons.links import train_parameters

    settings = settings_with_warehouse("there are no customers to learn from")
    place = _place(settings)
    shop = read_source(settings.source_folder, place.catalog.entities)
    card = train_parameters(place, connection_config(settings), seed=seed)
    weights = [(c, level, w) for c, levels in card.metrics["weights"].items() for level, w in levels.items()]
    table("Match weights (bits)", ["comparison", "level", "weight"], weights, right={2})
    say(f"trained {IDENTITY} {card.version} on {card.rows_trained:,} records")
    if not shop.file.identity.link:
        say(f"[yellow]note:[/] {shop.name} does not link records; `identity: {{link: true}}` in source.yml does")


@app.callback()
def models(context: typer.Context) -> None:
    """Every version of every model: when it was trained, how it did, and which one is in force."""
    if context.invoked_subcommand is not None:
        return
    from ecommerce_platform.ml.models import all_models
    from ecommerce_platform.warehouse.registry import all_versions, pinned_version

    place = _place(settings_with_warehouse("no model is trained yet"))
    with place.connect() as con:
        found = all_versions(con)
        pins = {row["model"]: pinned_version(con, row["model"]) for row in found}
    names = ["model", "version", "in force", "published", "data to", "why"]
    table(None, names, _versions(found, pins))
    if untrained := sorted(all_models(place.catalog).keys() - {row["model"] for row in found}):
        say(f"[dim]not trained yet: {', '.join(untrained)}[/]")


def _versions(found: list[dict[str, Any]], pins: dict[str, str | None]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    newest: set[str] = set()
    for row in found:
        model, version, pinned = row["model"], row["version"], pins[row["model"]]
        in_force = "pinned" if version == pinned else "yes" if pinned is None and model not in newest else ""
        newest.add(model)
        rows.append((model, version, in_force, row.get("published_as"), row["data_to"], row.get("verdict")))
    return rows


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="The model, e.g. segments.")],
    version: Annotated[str, typer.Argument(help="One of `ecommerce models`; `newest` pins none.")] = "newest",
) -> None:
    """Puts a version in force, whatever is trained later, until another is promoted or `newest`."""
    from ecommerce_platform.ml import lifecycle

    place = _place(settings_with_warehouse("no model is trained yet"))
    chosen = None if version == "newest" else version
    now = lifecycle.promote(place, model, chosen, key=_key(place, model))
    say(f"{model} {now} is in force{'' if chosen is None else ', pinned'}; the next build scores with it")


@app.command()
def rollback(model: Annotated[str, typer.Argument(help="The model, e.g. segments.")]) -> None:
    """Puts the version before the one in force, and pins it."""
    from ecommerce_platform.ml import lifecycle

    place = _place(settings_with_warehouse("no model is trained yet"))
    now = lifecycle.roll_back(place, model, key=_key(place, model))
    say(f"{model} {now} is in force, pinned; the next build scores with it")


def predict(
    model: Annotated[str, typer.Argument(help="The model, e.g. segments.")],
    input_: Annotated[Path, typer.Option("--input", help="CSV, JSON lines or Parquet with the model's columns.")],
    output: Annotated[Path | None, typer.Option(help="CSV or Parquet to write; default: print.")] = None,
) -> None:
    """Scores the rows of a file with the version of a model that is in force; of identity: which of them are one person's."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.ml.models import find_model
    from ecommerce_platform.ml.predict import predict_file
    from ecommerce_platform.warehouse.registry import current_version

    found = None if model == IDENTITY else find_model(read_catalog(), model)
    settings = settings_with_warehouse("no model is trained yet")
    place = _place(settings)
    with place.connect() as con:
        registered = current_version(con, model)
    if found is None:
        result = _predict_links(settings, place, registered, input_)
    else:
        result = predict_file(place.models, found, registered, input_)
    if output is None:
        sys.stdout.write(result.write_csv())
        return
    if output.suffix == ".parquet":
        result.write_parquet(output)
    else:
        result.write_csv(output)
    say(f"scored {result.height:,} rows with {model} {registered['version']}: {short(output)}")


def _predict_links(settings: Settings, place: Place, registered: dict[str, Any], file: Path) -> pl.DataFrame:
    from ecommerce_platform.contracts.source import read_source
    from ecommerce_platform.ml.predict import read_rows
    from ecommerce_platform.persons.identity import FILE_COLUMNS
    from ecommerce_platform.persons.links import links_among

    shop = read_source(settings.source_folder, place.catalog.entities)
    return links_among(place, registered, read_rows(file, FILE_COLUMNS), shop.file.identity.threshold)


def _place(settings: Settings) -> Place:
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.ml.lifecycle import Place
    from ecommerce_platform.orchestration.resources import open_warehouse

    return Place(open_warehouse(settings).connect, settings.models, read_catalog())


def _key(place: Place, model: str) -> str | None:
    """The training of a model in the ledger of versions; none of what no asset trains."""
    from ecommerce_platform.ml.models import find_model

    return None if model == IDENTITY else find_model(place.catalog, model).key


def _shown(value: object) -> object:
    from ecommerce_platform.ml.cards import figure

    return figure(value) if isinstance(value, float) else value
