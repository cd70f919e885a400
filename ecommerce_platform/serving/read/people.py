"""Single customers and products, gathered from the tables that a shop has. Personal columns are masked: `restricted.py` has
them in clear, for whoever may see them."""

from __future__ import annotations

from typing import Any

from ecommerce_platform.errors import InputError
from ecommerce_platform.serving.read.reader import View

PERSONS = "gold.dim_customer"
#: Part of a profile → the table it is the person's row of.
_PARTS = {
    "rfm": "gold.rfm",
    "segment": "ml.segments",
    "churn": "ml.churn_scores",
    "value": "ml.clv_scores",
    "uplift": "ml.uplift_scores",
}
_ACTIONS = "ml.retention_actions"
PRODUCTS = "gold.product_performance"
_AFFINITY = "gold.product_affinity"
_SHOWN = "ml.bought_together"
_FORECAST = "ml.demand_forecast"
_REGISTRY, _PINS = "ml.models", "ml.model_pins"


class NotThere(InputError):
    """There is no such customer, product or table in this snapshot."""


def customer(view: View, person_id: str) -> dict[str, Any]:
    """A person's profile, and what models say of that one where they are published.

    Returns:
        `profile` (columns of gold.dim_customer without personal ones), `masked` (names of those), and, where the shop has
        the tables, `rfm`, `segment`, `churn`, `value`, `uplift` (None: not scored) and `next_best_action`.

    Raises:
        NotThere: no such person.
    """
    if not view.has(PERSONS):
        raise NotThere("this shop has no customers", fix="a source that maps `customers` has")
    masked = view.entry(PERSONS)["hashed"]
    columns = [name for name in view.entry(PERSONS)["columns"] if name not in masked]
    profile = view.rows(PERSONS, columns=columns, where={"person_id": person_id}, limit=1).first()
    if profile is None:
        raise NotThere(f"there is no person {person_id[:100]!r}", fix="/v1/customers lists those with orders")
    found: dict[str, Any] = {"profile": profile, "masked": list(masked)}
    for part, table in _PARTS.items():
        if view.has(table) and "person_id" in view.entry(table)["columns"]:
            found[part] = view.rows(table, where={"person_id": person_id}, limit=1).first()
    if view.has(_ACTIONS):
        found["next_best_action"] = view.rows(_ACTIONS, where={"person_id": person_id}, limit=10).records()
    return found


def customers_sql(view: View, segment: str | None, after: str | None) -> str:
    """The SELECT of a page of customers by id: id, RFM segment and figures; those after an id.

    Raises:
        NotThere: the shop has no segments.
    """
    from ecommerce_platform.contracts.metric_sql import literal

    if not view.has("gold.rfm"):
        raise NotThere("this shop has no customers with orders")
    conditions = [f"person_id > {literal(after)}"] if after else []
    conditions += [f"segment = {literal(segment)}"] if segment else []
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return (
        "select person_id, segment, recency_days, frequency, monetary, orders, first_order_date, last_order_date "
        f"from gold.rfm{where} order by person_id"
    )


def product(view: View, product_id: str) -> dict[str, Any]:
    """A product with its performance. Raises NotThere where there is none that was sold."""
    if not view.has(PRODUCTS):
        raise NotThere("this shop has no product figures")
    found = view.rows(PRODUCTS, where={"product_id": product_id}, limit=1).first()
    if found is None:
        raise NotThere(f"there is no product {product_id[:100]!r} that was sold", fix="/v1/products lists them")
    return found


def bought_together(view: View, product_id: str, limit: int) -> list[dict[str, Any]]:
    """What is bought with a product, the highest lift first.

    Returns:
        product_id, name, orders_together, confidence, lift of the other product. `confidence` is the share of this
        product's orders that hold the other.

    Raises:
        NotThere: the shop has no such table.
    """
    from ecommerce_platform.contracts.metric_sql import literal

    if not view.has(_AFFINITY):
        raise NotThere("this shop's orders are not known by product", fix="a source that maps `order_items` has")
    is_it = literal(product_id)
    return view.select(
        "select other_product_id as product_id, other_product_name as name, orders_together, confidence, lift "
        f"from {_AFFINITY} where product_id = {is_it} union all "
        "select product_id, product_name, orders_together, confidence_of_other, lift "
        f"from {_AFFINITY} where other_product_id = {is_it} order by lift desc, product_id",
        limit=limit,
    ).records()


def recommended(view: View, product_id: str) -> list[dict[str, Any]]:
    """What the model shows beside a product, in its order; none where the shop has no such model."""
    if not view.has(_SHOWN):
        return []
    return view.rows(_SHOWN, where={"product_id": product_id}, order=("place",), limit=100).records()


def forecast_of(view: View, product_id: str, limit: int) -> list[dict[str, Any]]:
    """What is expected to be sold of a product.

    Raises:
        NotThere: there is no forecast by product.
    """
    if not view.has(_FORECAST):
        raise NotThere(
            "there is no forecast by product", fix="`ecommerce build` makes one where the history is long enough"
        )
    where = {"level": "product", "series": product_id, "is_backtest": False}
    return view.rows(_FORECAST, where=where, order=("forecast_date",), limit=limit).records()


def model_in_force(view: View, model: str) -> dict[str, Any] | None:
    """The registry's row of the version of a model that scores: the one that somebody pinned, else the newest."""
    if not view.has(_REGISTRY):
        return None
    where: dict[str, Any] = {"model": model}
    if view.has(_PINS):
        pin = view.rows(_PINS, where=where, order=("-change",), limit=1).first()
        where |= {"version": pin["version"]} if pin and pin["version"] else {}
    return view.rows(_REGISTRY, where=where, order=("-version",), limit=1).first()
