"""How the shop does, at a glance: key figures, revenue over time, where it comes from, what stands out."""

from __future__ import annotations

import streamlit as st

from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.events import events
from ecommerce_platform.serving.dashboard.figures import (
    OTHERS,
    Total,
    ahead,
    breakdown,
    compared_series,
    counts_distinct,
    largest,
    possible,
    series,
)
from ecommerce_platform.serving.dashboard.parts import Page, axis, cards, heading, hold, later, picture, section
from ecommerce_platform.serving.dashboard.view import OFFERED, View
from ecommerce_platform.serving.dashboard.wording import change, shown

#: Shown as cards, as far as the shop knows them.
KEY_FIGURES = (
    "revenue", "orders", "customers", "aov", "net_profit", "repeat_purchase_rate", "on_time_rate",
    "avg_review_score", "avg_satisfaction_score",
)  # fmt: skip
#: Dimension, title and metric of the lists below.
LEADERS = (
    ("brand", "Brands", "revenue"),
    ("payment_method", "How customers pay", "orders"),
    ("customer_region", "Where customers live", "customers"),
)
_CATEGORIES, _BARS = 6, 8
#: Insights that are shown without asking for more.
_INSIGHTS = 4


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    ask_ahead(shop, view)
    heading("How the shop is doing")
    said = st.empty()
    found = cards(shop, view, KEY_FIGURES, "executive")
    said.markdown(_sentence(shop, view, found))
    left, right = st.columns([2, 1], gap="large")
    with left:
        _revenue(shop, view)
    with right:
        _insights(shop)
    _categories(shop, view)
    if there := _there(shop, view):
        for place, (dimension, title, metric) in zip(st.columns(len(there), gap="large"), there, strict=True):
            with place:
                _leaders(shop, view, dimension, title, metric)


def ask_ahead(shop: Shop, view: View) -> None:
    """Has all that the page asks of orders worked out at once, what takes longest last."""
    names = possible(shop, KEY_FIGURES, view)
    slow = [name for name in names if counts_distinct(shop, name, view)]
    quick = [name for name in names if name not in slow]
    ahead(shop, view, quick)
    ahead(shop, view.compared("none"), quick, (), view.grain)
    ahead(shop, view, ["revenue", "gross_amount"], (), view.grain)
    if "category" in shop.dimensions():
        ahead(shop, view.compared("none"), ["revenue"], ["category"], view.grain)
        ahead(shop, view, ["revenue"], ["category"])
    for dimension, _, metric in _there(shop, view):
        ahead(shop, view, [metric], [dimension])
    ahead(shop, view, slow)
    ahead(shop, view.compared("none"), slow, (), view.grain)


def _there(shop: Shop, view: View) -> list[tuple[str, str, str]]:
    """The lists that this shop has, and that mean something under the filters."""
    return [part for part in LEADERS if part[0] in shop.dimensions() and possible(shop, [part[2]], view, [part[0]])]


def _sentence(shop: Shop, view: View, found: dict[str, Total]) -> str:
    """The main figures in words."""
    revenue, orders = found.get("revenue"), found.get("orders")
    if not revenue or revenue.now is None or not orders:
        return ""
    text = f"The shop took **{shown(revenue.now, 'money', shop.currency, brief=True)}** from **{shown(orders.now, 'count')}** orders"
    differs = change(revenue.now, revenue.before, "money")
    if differs and view.before:
        more = "more" if (revenue.now or 0) >= (revenue.before or 0) else "less"
        what = "in the period before" if view.compare == "previous" else "a year earlier"
        text += f", **{differs.lstrip('+-−')} {more}** than {what}"
    return text.replace("$", "\\$") + "."


def _revenue(shop: Shop, view: View) -> None:
    section("Revenue over time", "Sales before discount, what was left of them after it, and what happened meanwhile.")
    names = ["revenue", "gross_amount"]
    now, before = compared_series(shop, view, names, view.grain)
    labels = {"revenue": "Revenue", "gross_amount": "Before discount"}
    if now["revenue"].equals(now["gross_amount"]):  # a shop without discounts
        labels.pop("gross_amount")
    happened = events(shop, view.days)
    figure = shop.keep(
        ("revenue over time", view),
        lambda: charts.lines(
            now, labels, axis(shop, "revenue"), view.grain, before=before, happened=happened, days=view.days
        ),
    )
    whole = shown(sum(float(v or 0) for v in now["revenue"].to_list()), "money", shop.currency, brief=True)
    picture(figure, now, "revenue_over_time", f"Revenue by {view.grain}, {whole} in all, before and after discount")


def _insights(shop: Shop) -> None:
    section("What stands out", "Findings that are surely more than chance, those with most money at stake first.")
    if not shop.has("gold.insights"):
        st.caption("Nothing is sure enough yet: findings need some months of orders.")
        return
    found = shop.frame("select topic, sentence from gold.insights order by rank").to_dicts()
    icons = {
        "revenue": "trending_up", "churn": "person_off", "delivery": "local_shipping", "discounts": "sell",
        "products": "shopping_bag", "campaigns": "campaign", "customers": "group",
    }  # fmt: skip
    with st.container(border=False, key="findings"):
        for number, finding in enumerate(found):
            if number == _INSIGHTS:
                break
            with st.container(border=True, key=f"finding_{number}"):
                text = finding["sentence"].replace("$", "\\$")
                st.markdown(f":material/{icons.get(finding['topic'], 'lightbulb')}: {text}")
        if len(found) > _INSIGHTS:
            with st.expander(f"{len(found) - _INSIGHTS} more"):
                for finding in found[_INSIGHTS:]:
                    st.markdown("- " + finding["sentence"].replace("$", "\\$"))


def _categories(shop: Shop, view: View) -> None:
    if "category" not in shop.dimensions():
        return
    left, right = st.columns([2, 1], gap="large")
    with left:
        section("What the revenue is made of", f"Revenue by category and {view.grain}.")
        frame = largest(
            shop, series(shop, view, ["revenue"], view.grain, ["category"]), "revenue", "category", _CATEGORIES
        )
        order = [v for v in shop.values("category") if v in set(frame["category"].to_list())]
        order += [OTHERS] if OTHERS in frame["category"] else []
        figure = shop.keep(
            ("revenue by category", view),
            lambda: charts.stacked(
                charts.whole_weeks(frame, view.grain), "category", "revenue", axis(shop, "revenue"), order, 360
            ),
        )
        picture(figure, frame, "categories_over_time", f"Revenue by category and {view.grain}")
    with right:
        _leaders(shop, view, "category", "Categories", "revenue")


def _leaders(shop: Shop, view: View, dimension: str, title: str, metric: str) -> None:
    """The largest values of a dimension; a click holds the page to one. What is counted once each comes last."""
    known = shop.metrics.metric(metric)
    offered = dimension in OFFERED
    section(title, f"{known.label}." + (" Click a bar to look at it alone." if offered else ""))
    if not counts_distinct(shop, metric, view):
        _leading(shop, view, dimension, metric)
        return
    place = st.container()
    waits = place.empty()
    waits.caption("Being counted: each only once.")

    def draw() -> None:
        breakdown(shop, view, metric, dimension)
        waits.empty()
        with place:
            _leading(shop, view, dimension, metric)

    later(draw)


def _leading(shop: Shop, view: View, dimension: str, metric: str) -> None:
    known = shop.metrics.metric(metric)
    frame = breakdown(shop, view, metric, dimension).head(_BARS)
    name = f"{metric}_by_{dimension}"
    figure = shop.keep((name, view), lambda: charts.bars(frame, axis(shop, metric), chosen=view.values_of(dimension)))
    alt = f"{known.label} by {shop.metrics.dimension(dimension).label.lower()}, the largest first"
    picture(figure, frame, name, alt, on_select=hold(dimension, name) if dimension in OFFERED else None)


PAGE = Page("Executive", "executive", ":material/monitoring:", "Overview", show)
