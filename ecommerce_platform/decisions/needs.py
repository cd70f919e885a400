"""What each decision needs of a source: entities and columns that its mappings fill, and figures that source.yml says.

Whether what is there is enough (large enough experiments, prices that moved apart) only the data tell: `ml.decisions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

#: Decision → what must be mapped, as alternatives: `orders.region|orders.postal_code`. An entity alone needs any column of it.
DATA: dict[str, tuple[str, ...]] = {
    "experiment_results": ("experiment_assignments", "orders.customer_id"),
    "uplift_scores": ("experiment_assignments", "orders.customer_id"),
    "retention_actions": (
        "experiment_assignments", "orders.customer_id", "order_items.unit_cost|products.unit_cost",
    ),
    "retention_simulation": ("orders.customer_id", "order_items.unit_cost|products.unit_cost"),
    "cross_sell": ("order_items.product_id", "orders.customer_id", "order_items.unit_cost|products.unit_cost"),
    "delivery_plan": (
        "shipments.carrier", "shipments.delivered_at", "shipments.promised_at|orders.promised_at",
    ),
    "staffing_plan": ("orders",),
    "inventory_plan": (
        "inventory_snapshots.on_hand", "inventory_snapshots.lead_time_days", "order_items.unit_cost|products.unit_cost",
    ),
    "budget_allocation": (
        "campaigns.channel", "ad_spend.cost_amount", "orders.campaign_id",
        "orders.region|orders.postal_code|customers.region|customers.state|customers.postal_code",
    ),
    "price_recommendations": ("products.category", "order_items.unit_cost|products.unit_cost"),
    "roi_scenarios": (),
}  # fmt: skip
#: Decision → fields of `decisions:` in source.yml.
FIGURES: dict[str, tuple[str, ...]] = {
    "retention_actions": ("retention",),
    "retention_simulation": ("retention_trial",),
    "cross_sell": ("cross_sell",),
    "staffing_plan": ("staffing",),
    "inventory_plan": ("inventory",),
    "budget_allocation": ("budget",),
    "price_recommendations": ("prices",),
    "roi_scenarios": ("discount_rate", "investments"),
}


def missing_data(decision: str, mapped: Mapping[str, Collection[str]]) -> list[str]:
    """What a source lacks for a decision, of the columns that its mappings fill; nothing where it has all.

    Args:
        decision: table of the decision.
        mapped: entity → columns that are filled.
    """
    lacking = []
    for need in DATA[decision]:
        choices = need.split("|")
        if not any(_has(choice, mapped) for choice in choices):
            lacking.append(" or ".join(choices))
    return lacking


def _has(need: str, mapped: Mapping[str, Collection[str]]) -> bool:
    entity, _, column = need.partition(".")
    return bool(mapped.get(entity)) and (not column or column in mapped[entity])


def table_of_sources(sources: Mapping[str, Mapping[str, Collection[str]]]) -> str:
    """Decisions × sources in Markdown: yes, or what each source lacks.

    Args:
        sources: name → its mapped columns by entity.
    """
    lines = [
        f"| decision | source.yml says | {' | '.join(sources)} |",
        f"| --- | --- | {' | '.join('---' for _ in sources)} |",
    ]
    for decision in DATA:
        cells = []
        for mapped in sources.values():
            lacking = missing_data(decision, mapped)
            cells.append("no: " + ", ".join(f"`{what}`" for what in lacking) if lacking else "yes")
        figures = ", ".join(f"`{name}`" for name in FIGURES.get(decision, ())) or "(nothing)"
        lines.append(f"| `{decision}` | {figures} | {' | '.join(cells)} |")
    return "\n".join(lines)
