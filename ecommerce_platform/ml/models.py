"""Which models there are: what contracts name with `filled_by: ml.<module>`. Nothing here knows one of them."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING

from ecommerce_platform.errors import DefinitionError, InputError
from ecommerce_platform.ml.cards import About
from ecommerce_platform.ml.lifecycle import Model

if TYPE_CHECKING:
    from ecommerce_platform.contracts.catalog import Catalog
    from ecommerce_platform.contracts.contract import Contract

#: What `filled_by` of a table that a model fills begins with.
PREFIX = "ml."
#: What `written_beside` of the tables says that every training writes into.
EVERY_TRAINING = "ml.*_model"
#: And that every scoring does.
EVERY_SCORING = "ml.*"


def model_of(contract: Contract) -> Model:
    """The model that fills a table.

    Raises:
        DefinitionError: its module has no `MODEL`, or that says it is called otherwise or fills other tables.
    """
    where = f"{contract.path}:1"
    try:
        model = import_module(f"ecommerce_platform.{contract.filled_by}").MODEL
    except (ImportError, AttributeError) as error:
        raise DefinitionError(
            f"{contract.filled_by!r} is no module with a MODEL ({error})", where=where, fix="name one, as ml.segments"
        ) from None
    if contract.tags.get("model") != model.name or contract.table not in model.scored_on:
        raise DefinitionError(
            f"{contract.table} is declared as a table of {contract.tags.get('model')!r}, but {contract.filled_by} is the "
            f"model {model.name!r} and fills {', '.join(model.scored_on)}",
            where=where,
            fix=f"say `tags: {{model: {model.name}}}`, and name the table in scored_on",
        )
    found: Model = model
    return found


def all_models(catalog: Catalog) -> dict[str, Model]:
    """Every model that a table of the catalog is filled by, by name."""
    contracts = [t.contract for t in catalog.tables.values() if (t.contract.filled_by or "").startswith(PREFIX)]
    return {contract.tags.get("model", ""): model_of(contract) for contract in contracts}


def makeable(catalog: Catalog, selects: Collection[str]) -> dict[str, Model]:
    """The models whose inputs a source has, by name; `selects`: the tables that are SELECTs and mean something with it."""
    contracts = [t.contract for t in catalog.tables.values()]
    known = {*selects, *(c.table for c in contracts if _is_there(c))}
    models, found = all_models(catalog), dict[str, Model]()
    while more := {n: m for n, m in models.items() if n not in found and known.issuperset(m.reads(tuple(m.inputs)))}:
        found |= more
        known.update(table for model in more.values() for table in model.scored_on)
    return found


def _is_there(contract: Contract) -> bool:
    """Whether every source has the table, be it empty."""
    by_function = contract.filled_by is not None and not contract.filled_by.startswith(PREFIX)
    return bool(contract.entity or contract.history_of or contract.written_beside or by_function)


def described(catalog: Catalog) -> list[About]:
    """What every model says of itself, by name, for pages."""
    return [model.described for _, model in sorted(all_models(catalog).items())]


def import_libraries(catalog: Catalog) -> None:
    """Imports what training any of the models needs, which takes seconds."""
    for model in all_models(catalog).values():
        for name in (*model.imports, "skops.io"):
            import_module(name)


def find_model(catalog: Catalog, name: str) -> Model:
    """The model of a name.

    Raises:
        InputError: there is none.
    """
    known = {
        t.contract.tags.get("model"): t.contract
        for t in catalog.tables.values()
        if (t.contract.filled_by or "").startswith(PREFIX)
    }
    if name not in known:
        raise InputError(f"there is no model {name!r}", fix=f"use one of: {', '.join(sorted(map(str, known)))}")
    return model_of(known[name])
