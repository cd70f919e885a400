"""Any metric, cut by any dimension, over any days: from the metric definitions, so that a new metric appears by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ecommerce_platform.contracts.metric_sql import Query
from ecommerce_platform.contracts.metrics import PERIODS
from ecommerce_platform.serving.dashboard import charts
from ecommerce_platform.serving.dashboard.data import Shop
from ecommerce_platform.serving.dashboard.events import events
from ecommerce_platform.serving.dashboard.figures import (
    OTHERS,
    adds_up,
    breakdown,
    compared_series,
    largest,
    reason,
    series,
    totals,
)
from ecommerce_platform.serving.dashboard.keeping import thresholds
from ecommerce_platform.serving.dashboard.parts import (
    COLOUR,
    Page,
    axis,
    heading,
    hold,
    missing,
    picture,
    recall,
    rows,
    section,
)
from ecommerce_platform.serving.dashboard.view import OFFERED, View
from ecommerce_platform.serving.dashboard.wording import change, shown

if TYPE_CHECKING:
    import polars as pl

SHAPES = {"time": "Over time", "values": "Leaderboard", "pivot": "Pivot table"}
_NOTHING = "nothing"
_LINES, _BARS = 8, 25


def show(shop: Shop, view: View) -> None:
    """Draws the page."""
    heading("Explore", "Choose a figure and how to cut it. The address keeps the choice: copy it to share the view.")
    metric, first, second, grain, shape = _choice(shop, view)
    known = shop.metrics.metric(metric)
    st.markdown(f"**{known.label}**: {known.description}")
    thresholds(shop, st.session_state["who"], metric, grain, view)
    cuts = [d for d in (first, second) if d != _NOTHING]
    if why := reason(shop, metric, view, cuts, grain if shape == "time" else _all_at_once(shop, metric)):
        missing(
            "This cut has no meaning",
            f"{why[:1].upper()}{why[1:]}. Choose another figure, another cut, or clear a filter.",
        )
        return
    if shape == "time":
        _over_time(shop, view, metric, first, grain)
    elif shape == "values":
        _leaderboard(shop, view, metric, first)
    else:
        _pivot(shop, view, metric, first, second, grain)


def _choice(shop: Shop, view: View) -> tuple[str, str, str, str, str]:
    """The fields, and what they hold: metric, two dimensions, grain, shape."""
    metrics = [name for name in shop.metrics.metrics if _has(shop, name)]
    dimensions = [_NOTHING, *shop.dimensions()]

    def label(name: str) -> str:
        return "Nothing" if name == _NOTHING else shop.metrics.dimension(name).label

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        key = recall("metric", metrics, "revenue")
        metric = st.selectbox("Figure", metrics, key=key, width=200, format_func=lambda n: shop.metrics.metric(n).label)
        key = recall("by", dimensions, _NOTHING)
        first = st.selectbox("Cut by", dimensions, key=key, format_func=label, width=190)
        key = recall("shape", list(SHAPES), "time")
        shape = st.segmented_control("Show", list(SHAPES), key=key, format_func=SHAPES.__getitem__, required=True)
        grain, second = view.grain, _NOTHING
        allowed = [g for g in PERIODS if g in (shop.metrics.metric(metric).periods or PERIODS)]
        if shape == "time" or (shape == "pivot" and first != _NOTHING):
            key = recall("grain", ["auto", *allowed], "auto")
            names = {"auto": f"Automatic ({_fitting(view.grain, allowed)})", **{g: g.capitalize() for g in allowed}}
            asked = st.selectbox("By", list(names), key=key, format_func=lambda n: names.get(n, n), width=190)
            grain = _fitting(view.grain, allowed) if asked == "auto" else str(asked)
        if shape == "pivot":
            others = [_NOTHING, *(d for d in shop.dimensions() if d != first)]
            key = recall("and", others, _NOTHING)
            second = st.selectbox(
                "And by", others, key=key, format_func=lambda n: "Time" if n == _NOTHING else label(n), width=190
            )
    return metric, first, second, grain, str(shape)


def _fitting(grain: str, allowed: list[str]) -> str:
    """The grain, or the next coarser one that the metric can be asked for."""
    return next((g for g in PERIODS[PERIODS.index(grain) :] if g in allowed), allowed[-1])


def _all_at_once(shop: Shop, metric: str) -> str | None:
    """None where the metric can be asked for all days at once, else the coarsest period it can be asked for."""
    known = shop.metrics.metric(metric)
    return (known.periods or PERIODS)[-1] if known.growth or known.periods else None


def _has(shop: Shop, name: str) -> bool:
    """Whether the shop knows anything of a metric: its figure over all time is there."""
    period = "month" if _all_at_once(shop, name) else None
    frame = shop.metric(Query((name,), period=period))
    found = frame[name].drop_nulls()
    return len(found) > 0 and (name in ("revenue", "orders") or bool((found != 0).any()))


def _over_time(shop: Shop, view: View, metric: str, by: str, grain: str) -> None:
    known, of = shop.metrics.metric(metric), axis(shop, metric)
    if by == _NOTHING:
        now, before = compared_series(shop, view, [metric], grain)
        if not len(now):
            _nothing(view)
            return
        _say_total(shop, view, metric)
        figure = charts.lines(
            now,
            {metric: known.label},
            of,
            grain,
            before=before,
            happened=events(shop, view.days),
            days=view.days,
            height=400,
        )
        table = (
            now
            if before is None
            else now.join(before.select("period", before[metric].alias("compared_with")), on="period", how="left")
        )
        picture(figure, table, "explore_time", f"{known.label} by {grain}")
        return
    frame = largest(shop, series(shop, view, [metric], grain, [by]), metric, by, _LINES)
    if not len(frame):
        _nothing(view)
        return
    order = _order(frame, metric, by)
    draw = charts.stacked if adds_up(shop, metric, by) else charts.several
    figure = draw(frame, by, metric, of, order, 430)
    picture(
        figure, frame, "explore_time_by", f"{known.label} by {shop.metrics.dimension(by).label.lower()} and {grain}"
    )


def _say_total(shop: Shop, view: View, metric: str) -> None:
    total = totals(shop, view, [metric]).get(metric)
    if total and total.now is not None:
        known = shop.metrics.metric(metric)
        differs = change(total.now, total.before, known.format)
        colour = COLOUR[known.better]
        st.metric(known.label, shown(total.now, known.format, shop.currency), differs, delta_color=colour)  # type: ignore[arg-type]


def _order(frame: pl.DataFrame, metric: str, by: str) -> list[str]:
    """The values of a series, the largest first; what is put together, and what is not known, last."""
    import polars as pl

    whole = (
        frame.group_by(by)
        .agg(pl.col(metric).cast(pl.Float64).sum().alias("whole"))
        .sort("whole", by, descending=[True, False])
    )
    last = (OTHERS, "unknown")
    values = whole[by].to_list()
    return [v for v in values if v not in last] + [v for v in last if v in values]


def _leaderboard(shop: Shop, view: View, metric: str, by: str) -> None:
    if by == _NOTHING:
        missing("Nothing to rank yet", "Choose under **Cut by** what to rank, such as Category or Region.")
        return
    known, dimension = shop.metrics.metric(metric), shop.metrics.dimension(by)
    if _all_at_once(shop, metric):
        missing(
            "A leaderboard adds up all days",
            f"{known.label} is worked out at the end of a period. Choose **Over time**.",
        )
        return
    frame = breakdown(shop, view, metric, by)
    if not len(frame):
        _nothing(view)
        return
    offered = by in OFFERED
    section(
        f"{known.label} by {dimension.label.lower()}",
        f"{dimension.description}" + (" Click a bar to look at it alone." if offered else ""),
    )
    figure = charts.bars(frame.head(_BARS), axis(shop, metric), chosen=view.values_of(by))
    picture(
        figure, frame, "explore_values", f"{known.label} by {dimension.label.lower()}, the largest first",
        on_select=hold(by, "explore_values") if offered else None,
    )  # fmt: skip


def _cells(shop: Shop, view: View, metric: str, first: str, second: str, grain: str) -> pl.DataFrame:
    """The metric by `first` and by `column`: the values of the second dimension, or periods."""
    import polars as pl

    if second == _NOTHING:
        frame = series(shop, view, [metric], grain, [first])
        return frame.with_columns(pl.col("period").cast(pl.String).alias("column"))
    query = Query((metric,), (first, second), filters=view.filters, since=view.days.since, until=view.days.until)
    return shop.metric(query).with_columns(pl.col(second).alias("column"))


def _pivot(shop: Shop, view: View, metric: str, first: str, second: str, grain: str) -> None:
    """A table of the metric by a dimension and another, or time. Ratios are asked for at each cell, never added up."""
    import polars as pl

    if first == _NOTHING:
        missing("Nothing to cut by yet", "Choose under **Cut by** what the rows are, such as Category or Region.")
        return
    if second == _NOTHING and (why := reason(shop, metric, view, [first], grain)):
        missing("This cut has no meaning", why)
        return
    frame = _cells(shop, view, metric, first, second, grain)
    if not len(frame):
        _nothing(view)
        return
    columns = sorted(set(frame["column"].to_list()))
    most = 60
    table = (
        frame.filter(pl.col("column").is_in(columns[-most:]))
        .with_columns(pl.col(metric).cast(pl.Float64))
        .pivot(on="column", index=first, values=metric, on_columns=columns[-most:])
    )
    place = (
        {v: n for n, v in enumerate(breakdown(shop, view, metric, first, compare=False)["value"].to_list())}
        if not _all_at_once(shop, metric)
        else {}
    )
    table = table.sort(pl.col(first).replace_strict(place, default=len(place), return_dtype=pl.Int64), first)
    known = shop.metrics.metric(metric)
    kind = {"share": "percent", "count": "localized"}.get(known.format, "localized")
    config = {first: st.column_config.Column(shop.metrics.dimension(first).label, pinned=True)} | {
        c: st.column_config.NumberColumn(c, format=kind) for c in table.columns if c != first
    }
    if len(columns) > most:
        st.caption(f"The last {most} of {len(columns)} columns; choose fewer days or a coarser step for all.")
    rows(table, "explore_pivot", config, height=620)


def _nothing(view: View) -> None:
    missing(
        "No orders meet this choice",
        f"There is nothing in {view.days.text} under these filters: choose more days, or clear a filter.",
    )


PAGE = Page("Explore", "explore", ":material/travel_explore:", "Overview", show)
