"""Why revenue changed: split exactly into its drivers, by where it changed, and drilled into step by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import streamlit as st

from ecommerce_platform.reading.drivers import Periods, drivers_sql
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.figures import breakdown, possible, series
from ecommerce_platform.serving.dashboard.parts import (
    Page,
    axis,
    chosen,
    heading,
    hold,
    missing,
    picture,
    recall,
    section,
)
from ecommerce_platform.serving.dashboard.view import OFFERED, Days, View, months_back
from ecommerce_platform.serving.dashboard.wording import change, period_text, shown

#: The parts of a change, as people call them.
PARTS = {
    "customers": "Number of customers",
    "orders_per_customer": "Orders per customer",
    "units_per_order": "Units per order",
    "price": "Price per unit",
    "discount": "Discounts",
    "without_customer": "Orders without a customer",
    "not_split": "Not split",
}
#: The ways to drill down; time is drilled by its own steps.
WAYS = {
    "time": ("Year", "Quarter", "Month", "Day"),
    "place": ("region", "city"),
    "goods": ("category", "product", "channel"),
    "people": ("segment", "age_group"),
}
_NAMES = {"time": "Time", "place": "Place", "goods": "Products", "people": "Customers"}
_STEPS = ("year", "quarter", "month", "day")
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
_METRICS = ("revenue", "orders", "customers", "units", "aov", "net_profit", "discount_amount")
_BARS = 15


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading(
        "Why revenue changed", "First what drove the change, then where it happened, then every step down to the day."
    )
    if view.before is None:
        missing(
            "There is nothing to compare with",
            "Choose at the top what to compare with, or days that have earlier ones.",
        )
    else:
        _drivers(shop, view, view.before)
        _where(shop, view)
    _drill(shop, view)


def _drivers(shop: Shop, view: View, before: Days) -> None:
    section("What drove it", "The change split into its drivers; the parts add up to it, to the last cent.")
    if view.filters:
        missing(
            "Drivers are those of the whole shop",
            "Clear the filters to see them; below, the change is shown by where it happened.",
        )
        return
    pair = Periods(before.since, before.until, view.days.since, view.days.until)
    frame = shop.frame(
        f"select part, amount, factor_before, factor_now, revenue_before, revenue from ({drivers_sql([pair])})"
    )
    parts = {row["part"]: row for row in frame.to_dicts()}
    any_ = next(iter(parts.values()))
    start, end = float(any_["revenue_before"]), float(any_["revenue"])
    steps = [
        (label, float(parts[name]["amount"]))
        for name, label in PARTS.items()
        if name in parts and parts[name]["amount"]
    ]
    _say(shop, start, end, steps)
    st.caption("The axis does not begin at zero, so that the parts can be seen.")
    figure = charts.waterfall(("Before", start), steps, ("Now", end), axis(shop, "revenue"))
    picture(figure, frame, "drivers", "Revenue before, what each driver added or took, and revenue now")


def _say(shop: Shop, start: float, end: float, steps: list[tuple[str, float]]) -> None:
    differs = change(end, start, "money")
    way = "rose" if end >= start else "fell"
    text = f"Revenue {way} by **{shown(abs(end - start), 'money', shop.currency, brief=True)}**" + (
        f" ({differs})" if differs else ""
    )
    if steps:
        name, amount = max(steps, key=lambda s: abs(s[1]))
        effect = "added" if amount > 0 else "took away"
        text += f". What mattered most: **{name.lower()}** {effect} {shown(abs(amount), 'money', shop.currency, brief=True)}"
    st.markdown(text.replace("$", "\\$") + ".")


def _where(shop: Shop, view: View) -> None:
    section("Where it changed", "The change by the values of a dimension; they add up to the whole.")
    names = [
        d
        for d in shop.dimensions()
        if d in (*OFFERED, "customer_region", "weekday", "city") and possible(shop, ["revenue"], view, [d])
    ]
    key = recall("where", names, names[0])
    by = str(
        st.pills(
            "Dimension",
            names,
            key=key,
            format_func=lambda n: shop.metrics.dimension(n).label,
            required=True,
            label_visibility="collapsed",
        )
    )
    frame = breakdown(shop, view, "revenue", by)
    most = frame.sort(frame["change"].abs(), descending=True).head(_BARS).sort("change", descending=True)
    figure = charts.differences(most, axis(shop, "revenue"))
    alt = f"Change in revenue by {shop.metrics.dimension(by).label.lower()}"
    picture(figure, frame, "where_changed", alt, on_select=hold(by, "where_changed") if by in OFFERED else None)


# -- drilling down --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Where a drill stands: what was gone into so far."""

    way: str
    path: tuple[str, ...]

    @property
    def level(self) -> int:
        """How many steps down it is; the last step can only be looked at."""
        return min(len(self.path), len(WAYS[self.way]) - 1)


def _drill(shop: Shop, view: View) -> None:
    section("Step by step", "Click a bar, or choose below it, to go one step down.")
    ways = [way for way in WAYS if way == "time" or WAYS[way][0] in shop.dimensions()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        way = str(st.segmented_control(
            "Drill down by", ways, key=recall("way", ways, "time"), format_func=_NAMES.__getitem__, required=True, on_change=_leave
        ))  # fmt: skip
        metrics = possible(shop, _METRICS, view)
        key = recall("of", metrics, "revenue")
        metric = str(
            st.selectbox("Figure", metrics, key=key, format_func=lambda n: shop.metrics.metric(n).label, width=220)
        )
    path = tuple(st.session_state.get("drill_path", ()))
    step = Step(way, path)
    _crumbs(shop, step)
    if way == "time":
        _drill_time(shop, view, metric, step)
    else:
        _drill_values(shop, view, metric, step)


def _leave() -> None:
    st.session_state["drill_path"] = ()


def _go(path: tuple[str, ...]) -> None:
    st.session_state["drill_path"] = path


def _crumbs(shop: Shop, step: Step) -> None:
    """The way so far, each step a button that leads back to it."""
    if not step.path:
        return
    with st.container(horizontal=True, gap="small"):
        st.button("All", on_click=_go, args=((),), icon=":material/arrow_back:", type="tertiary", key="crumb_all")
        for number, value in enumerate(step.path, 1):
            text = _named(shop, step, number - 1, value)
            st.button(
                text,
                on_click=_go,
                args=(step.path[:number],),
                type="tertiary",
                key=f"crumb_{number}",
                disabled=number == len(step.path),
            )


def _named(shop: Shop, step: Step, level: int, value: str) -> str:
    """A value as people read it."""
    if step.way == "time":
        return period_text(date.fromisoformat(value), _STEPS[level])
    if WAYS[step.way][level] == "product":
        return _products(shop).get(value) or value
    return value


def _products(shop: Shop) -> dict[str, str]:
    """Names of products by their ids."""
    frame = shop.frame("select product_id, coalesce(name, product_id) as name from gold.dim_product")
    return dict(zip(frame["product_id"].to_list(), frame["name"].to_list(), strict=True))


def _down(step: Step, name: str) -> Any:
    def clicked() -> None:
        if (value := chosen(name)) is not None and len(step.path) < len(WAYS[step.way]) - 1:
            _go((*step.path, value))

    return clicked


def _into(shop: Shop, step: Step, values: list[str]) -> None:
    """The way down without a mouse."""
    level = len(step.path)
    if level >= len(WAYS[step.way]) - 1:
        return
    key = f"into_{step.way}_{level}"

    def go() -> None:
        if value := st.session_state.get(key):
            _go((*step.path, value))

    st.selectbox(
        "Go into", values, index=None, key=key, on_change=go, placeholder="Choose one to go into",
        format_func=lambda v: _named(shop, step, level, v), width=300,
    )  # fmt: skip


def _drill_time(shop: Shop, view: View, metric: str, step: Step) -> None:
    import polars as pl

    grain = _STEPS[step.level]
    days = view.days
    if step.path:
        outer = _STEPS[len(step.path) - 1]
        first = date.fromisoformat(step.path[-1])
        # Back by minus n months is n months on.
        days = Days(max(first, shop.first_day), months_back(first, -_MONTHS[outer]) - timedelta(days=1))
    elif view.days.length < 366:
        days = Days(shop.first_day, view.days.until)
    frame = series(shop, view, [metric], grain, days=days)
    if not len(frame):
        missing("No orders here", "Go a step back, or clear a filter.")
        return
    frame = frame.with_columns(pl.col("period").cast(pl.String).alias("value"), pl.col(metric).alias("now"))
    texts = [period_text(p, grain) if grain != "day" else f"{p.day}" for p in frame["period"].to_list()]
    figure = charts.standing_bars(frame, axis(shop, metric))
    figure.update_xaxes(ticktext=texts)
    picture(
        figure,
        frame,
        "drill_time",
        f"{shop.metrics.metric(metric).label} by {grain}",
        on_select=_down(step, "drill_time"),
    )
    _into(shop, step, frame["value"].to_list())


def _drill_values(shop: Shop, view: View, metric: str, step: Step) -> None:
    import polars as pl

    levels = WAYS[step.way]
    held = view
    for name, value in zip(levels, step.path, strict=False):
        held = held.held_to(name, (value,))
    by = levels[step.level]
    if by not in shop.dimensions() or not possible(shop, [metric], held, [by]):
        missing(
            f"This shop knows no {shop.metrics.dimension(by).label.lower()} here",
            "Go a step back, or drill by something else.",
        )
        return
    frame = breakdown(shop, held, metric, by).head(_BARS)
    if not len(frame):
        missing("No orders here", "Go a step back, or clear a filter.")
        return
    label = shop.metrics.dimension(by).label
    st.caption(f"{shop.metrics.metric(metric).label} by {label.lower()}, the {len(frame)} largest")
    figure = charts.bars(frame, axis(shop, metric))
    if by == "product":
        names = _products(shop)
        frame = frame.with_columns(pl.col("value").replace_strict(names, default=None).alias("name"))
        figure.update_yaxes(ticktext=[_short(names.get(v) or v) for v in frame["value"].to_list()])
    name = f"drill_{step.way}_{step.level}"
    picture(figure, frame, name, f"{shop.metrics.metric(metric).label} by {label.lower()}", on_select=_down(step, name))
    _into(shop, step, frame["value"].to_list())


def _short(text: str) -> str:
    return text if len(text) < 28 else text[:26] + "…"


PAGE = Page("Diagnose", "diagnose", ":material/troubleshoot:", "Overview", show)
