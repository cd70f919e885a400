"""Commands that train a model and score rows with one. What builds train: `ml`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ecommerce_platform.cli.arguments import settings_with_warehouse
from ecommerce_platform.cli.console import say, short, table


def train(
    model: Annotated[Literal["identity"], typer.Argument(help="The model: identity (which records are one person's).")],
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 1,
) -> None:
    """Trains a model that is not trained by builds, on the warehouse as it is; the next build uses it."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.contracts.source import read_source
    from ecommerce_platform.orchestration.resources import connection_config, open_warehouse
    from ecommerce_platform.persons.links import train_parameters

    settings = settings_with_warehouse("there are no customers to learn from")
    catalog = read_catalog()
    shop = read_source(settings.source_folder, catalog.entities)
    card = train_parameters(
        open_warehouse(settings).connect, catalog.contract("ml.models"), settings.models, connection_config(settings), seed=seed
    )  # fmt: skip
    weights = [(c, level, w) for c, levels in card.metrics["weights"].items() for level, w in levels.items()]
    table("Match weights (bits)", ["comparison", "level", "weight"], weights, right={2})
    say(f"trained {model} {card.version} on {card.rows_trained:,} records")
    if not shop.file.identity.link:
        say(f"[yellow]note:[/] {shop.name} does not link records; `identity: {{link: true}}` in source.yml does")


def predict(
    model: Annotated[str, typer.Argument(help="The model, e.g. segments.")],
    input_: Annotated[Path, typer.Option("--input", help="CSV, JSON lines or Parquet with the model's columns.")],
    output: Annotated[Path | None, typer.Option(help="CSV or Parquet to write; default: print.")] = None,
) -> None:
    """Scores new rows with the current model."""
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.ml.models import find_model
    from ecommerce_platform.ml.predict import predict_file
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.warehouse.registry import current_version

    found = find_model(read_catalog(), model)
    settings = settings_with_warehouse("no model is trained yet")
    with open_warehouse(settings).connect() as con:
        version = current_version(con, model)
    result = predict_file(settings.models, found, version, input_)
    if output is None:
        sys.stdout.write(result.write_csv())
        return
    if output.suffix == ".parquet":
        result.write_parquet(output)
    else:
        result.write_csv(output)
    say(f"scored {result.height:,} rows with {model} {version['version']}: {short(output)}")
