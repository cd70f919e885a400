"""Pictures of frames: Plotly figures that follow the page's light or dark theme. What is in the frames is for `figures`.

Colours are told apart also by those who see few of them (Okabe and Ito 2008, Color Universal Design), and none means
something by itself: every picture has its words and its table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ecommerce_platform.serving.dashboard.events import KINDS, Event
from ecommerce_platform.serving.dashboard.view import Days
from ecommerce_platform.serving.dashboard.wording import period_text, shown, symbol

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import polars as pl

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3B7DD8", "#D9822B", "#2A9D78", "#D1495B", "#8E6BBF", "#8791A0"
#: For the values of a dimension, the largest first.
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#C2577F", "#4FA3B8", "#A98A2D", "#5E6B82")
#: From little to much.
SCALE = [[0.0, "rgba(59,125,216,0.05)"], [1.0, "rgba(59,125,216,1)"]]
#: Pixels that a character of a label takes at most, and the space beside it.
_CHARACTER, _GAP = 7, 10
#: How marks look once one of them is clicked; Plotly fails on a click where this is not said.
_PICKED: dict[str, Any] = {"selected": {"marker": {"opacity": 1}}, "unselected": {"marker": {"opacity": 0.45}}}
_LANES = {"sale": ORANGE, "campaign": GREEN, "anomaly": RED, "known": PURPLE, "load": GREY}
_LANE = 22


@dataclass(frozen=True)
class Axis:
    """How the figures of an axis read: a metric's format, and its currency where it is money."""

    kind: str = "count"
    currency: str = ""

    @property
    def hover(self) -> str:
        """Plotly's format of a value on hovering."""
        return {"money": ",.0f", "count": ",.0f", "share": ".1%", "score": ".2f", "days": ".1f"}[self.kind]

    @property
    def prefix(self) -> str:
        """What stands before a figure."""
        return symbol(self.currency) if self.kind == "money" else ""

    def layout(self) -> dict[str, Any]:
        """The axis for Plotly."""
        ticks = {"share": ".0%", "score": ".1f", "days": ".1f"}.get(self.kind, "~s")
        return {"tickformat": ticks, "tickprefix": self.prefix, "title": None, "zeroline": False}

    def text(self, value: float | None, *, signed: bool = False) -> str:
        """A figure as text, of money from 100 on without cents: labels stand close to each other."""
        if value is not None and self.kind == "money" and 100 <= abs(value) < 1e4:
            sign = "−" if value < 0 else ""
            text = f"{sign}{self.prefix}{abs(value):,.0f}"
        else:
            text = shown(value, self.kind, self.currency, brief=True)
        return f"+{text}" if signed and (value or 0) > 0 else text


def _trace(kind: str, **of: Any) -> dict[str, Any]:
    """A trace as Plotly takes it; checked with its figure, which costs a tenth of an object of its own."""
    return {"type": kind, **of}


def _figure(
    traces: Sequence[dict[str, Any]],
    height: int = 320,
    *,
    x: Mapping[str, Any] | None = None,
    y: Mapping[str, Any] | None = None,
    **layout: Any,
) -> go.Figure:
    """A figure made at once: each change of a made one would cost as much again.

    Args:
        traces: of `_trace`.
        height: in pixels.
        x: of the first horizontal axis.
        y: of the first vertical one.
        layout: all else.
    """
    import plotly.graph_objects as go

    usual = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": None},
        "hoverlabel": {"align": "left"},
    }
    axes = {
        "xaxis": {"automargin": True, "title": None, **(x or {})},
        "yaxis": {"automargin": True, "title": None, **(y or {})},
    }
    return go.Figure({"data": list(traces), "layout": {**usual, **axes, **layout}})


def lines(
    frame: pl.DataFrame,
    names: dict[str, str],
    axis: Axis,
    grain: str,
    *,
    before: pl.DataFrame | None = None,
    happened: Sequence[Event] = (),
    days: Days | None = None,
    height: int = 320,
) -> go.Figure:
    """Metrics over time; the first is filled, what it is compared with is dotted, and below stands what happened.

    Args:
        frame: `period` and a column per metric.
        names: column → label, the main one first.
        axis: of all of them.
        grain: of the periods.
        before: the series of the days compared with, laid over the same periods, with its `own_period`.
        happened: events to show in lanes below.
        days: which the lanes are cut to.
        height: without the lanes, in pixels.
    """
    frame, all_periods = whole_weeks(frame, grain), frame
    if len(frame) < len(all_periods):
        before = None if before is None else before.filter(before["period"].is_in(frame["period"].to_list()))
    periods = frame["period"].to_list()
    main = next(iter(names))
    traces: list[Any] = [] if before is None else [_compared(before, main, axis, grain)]
    for number, (column, label) in enumerate(names.items()):
        colour = (BLUE, ORANGE, GREEN, PURPLE)[number % 4]
        traces.append(
            _trace(
            "scatter",
                x=periods, y=_floats(frame, column), name=label, mode="lines" if len(periods) > 2 else "lines+markers",
                line={"color": colour, "width": 2.4 if column == main else 1.8},
                fill="tozeroy" if column == main and axis.kind in ("money", "count") else None,
                fillcolor="rgba(59,125,216,0.10)",
                hovertemplate=f"{label}: {axis.prefix}%{{y:{axis.hover}}}<extra></extra>",
            )
        )  # fmt: skip
    y = axis.layout() | ({"rangemode": "tozero"} if axis.kind in ("money", "count", "share") else {})
    layout: dict[str, Any] = {"hovermode": "x unified", "shapes": _incomplete(frame, grain)}
    if not (happened and days):
        return _figure(traces, height, y=y, **layout)
    lanes, below = _lanes(happened, days, height)
    layout |= below | {"hovermode": "closest" if len(traces) + len(lanes) > 12 else "x"}
    return _figure(
        [*traces, *lanes],
        height + _tall(lanes),
        x={"anchor": "y2"},
        y=y | {"domain": [_share(lanes, height) + 0.06, 1]},
        **layout,
    )


def whole_weeks(frame: pl.DataFrame, grain: str) -> pl.DataFrame:
    """A series without the weeks that its days cut short, which would look like a fall; all of it where there are no others."""
    if grain != "week" or "is_complete" not in frame.columns or not frame["is_complete"].any():
        return frame
    return frame.filter(frame["is_complete"])


def _compared(before: pl.DataFrame, column: str, axis: Axis, grain: str) -> dict[str, Any]:
    """The series compared with, dotted; it is told by its own periods."""
    return _trace(
            "scatter",
        x=before["period"].to_list(), y=_floats(before, column), name="Compared with", mode="lines",
        customdata=[period_text(p, grain) for p in before["own_period"].to_list()],
        line={"color": GREY, "width": 1.6, "dash": "dot"},
        hovertemplate=f"%{{customdata}}: {axis.prefix}%{{y:{axis.hover}}}<extra></extra>",
    )  # fmt: skip


def forecast(frame: pl.DataFrame, axis: Axis, height: int = 360) -> go.Figure:
    """What is expected day by day with its 90 % band, what was expected earlier, and what came.

    Args:
        frame: `period` (each once), `forecast`, `low_90`, `high_90`, `actual`, `is_backtest`.
        axis: of all of them.
        height: in pixels.
    """
    traces: list[Any] = []
    hover = f": {axis.prefix}%{{y:{axis.hover}}}<extra></extra>"
    for earlier, label, dash in ((True, "Expected then", "dot"), (False, "Expected", "solid")):
        part = frame.filter(frame["is_backtest"] == earlier)
        band = part.filter(part["low_90"].is_not_null() & part["high_90"].is_not_null())
        days = band["period"].to_list()
        for column, fill in (("high_90", None), ("low_90", "tonexty")):
            traces.append(
                _trace(
            "scatter",
                    x=days, y=_floats(band, column), mode="lines", line={"width": 0}, fill=fill, fillcolor="rgba(59,125,216,0.16)",
                    name=f"{label}, {'lower' if fill else 'upper'} end", showlegend=False,
                    hovertemplate=f"{'At least' if fill else 'At most'}{hover}",
                )
            )  # fmt: skip
        traces.append(
            _trace(
            "scatter",
                x=part["period"].to_list(), y=_floats(part, "forecast"), name=label, mode="lines",
                line={"color": BLUE, "width": 2.2, "dash": dash}, hovertemplate=f"{label}{hover}",
            )
        )  # fmt: skip
    came = frame.filter(frame["actual"].is_not_null())
    traces.append(
        _trace(
            "scatter",
            x=came["period"].to_list(), y=_floats(came, "actual"), name="Came", mode="lines+markers",
            line={"color": ORANGE, "width": 1.8}, marker={"size": 4}, hovertemplate=f"Came{hover}",
        )
    )  # fmt: skip
    return _figure(traces, height, y=axis.layout() | {"rangemode": "tozero"}, hovermode="x unified")


def _incomplete(frame: pl.DataFrame, grain: str) -> list[dict[str, Any]]:
    """A grey band behind periods that data cover in part only."""
    if "is_complete" not in frame.columns or grain == "day":
        return []
    open_ = frame.filter(~frame["is_complete"])["period"].to_list()
    return [
        {
            "type": "rect", "xref": "x", "yref": "y domain", "x0": period - timedelta(days=3), "x1": period + timedelta(days=3),
            "y0": 0, "y1": 1, "fillcolor": GREY, "opacity": 0.14, "line": {"width": 0},
        }
        for period in (open_[:1] + open_[-1:] if len(open_) > 1 else open_)
    ]  # fmt: skip


def _lanes(happened: Sequence[Event], days: Days, height: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What happened as a trace per kind, and the axis they stand on below a figure of so many pixels."""
    kinds = [kind for kind in KINDS if any(e.kind == kind for e in happened)]
    traces = []
    for place, kind in enumerate(reversed(kinds)):
        x: list[Any] = []
        y: list[Any] = []
        text: list[str] = []
        for event in (e for e in happened if e.kind == kind):
            first, last = max(event.first, days.since), min(event.last, days.until)
            when = Days(event.first, event.last).text if event.first <= event.last else f"{event.first}"
            note = f"<b>{event.title}</b><br>{when}" + (f"<br>{_wrapped(event.text)}" if event.text else "")
            # Half a day more on either side: one day has a length, too.
            x += [f"{first - timedelta(days=1)} 12:00", f"{last} 12:00", None]
            y += [place, place, None]
            text += [note, note, ""]
        traces.append(
            _trace(
                "scatter", x=x, y=y, yaxis="y2", mode="lines", line={"color": _LANES[kind], "width": 9}, showlegend=False,
                hovertext=text, hoverinfo="text", name=KINDS[kind],
            )
        )  # fmt: skip
    below = {
        "domain": [0, _share(traces, height)], "tickvals": list(range(len(kinds))), "ticktext": [KINDS[k] for k in reversed(kinds)],
        "range": [-0.6, len(kinds) - 0.4], "showgrid": False, "zeroline": False, "automargin": True, "fixedrange": True,
    }  # fmt: skip
    return traces, {"yaxis2": below}


def _tall(lanes: Sequence[Any]) -> int:
    """Pixels that lanes take."""
    return _LANE * len(lanes) + 14


def _share(lanes: Sequence[Any], height: int) -> float:
    """Their share of a figure that has so many pixels without them."""
    return _tall(lanes) / (height + _tall(lanes))


def _wrapped(text: str, width: int = 70) -> str:
    import textwrap

    return "<br>".join(textwrap.wrap(text, width)[:6])


def stacked(frame: pl.DataFrame, by: str, name: str, axis: Axis, order: Sequence[str], height: int = 320) -> go.Figure:
    """A series by one dimension as bars on each other, the values in the order given."""
    import polars as pl

    traces = []
    for number, value in enumerate(order):
        rows = frame.filter(pl.col(by) == value)
        traces.append(
            _trace(
            "bar",
                x=rows["period"].to_list(), y=_floats(rows, name), name=_cut(value, 28),
                marker={"color": _colour(number, value)},
                hovertemplate=f"{value}: {axis.prefix}%{{y:{axis.hover}}}<extra></extra>",
            )
        )  # fmt: skip
    return _figure(traces, height, y=axis.layout(), barmode="stack", hovermode="x unified", bargap=0.25)


def several(frame: pl.DataFrame, by: str, name: str, axis: Axis, order: Sequence[str], height: int = 320) -> go.Figure:
    """A series by one dimension as a line each: for what cannot be added up."""
    import polars as pl

    traces = []
    for number, value in enumerate(order):
        rows = frame.filter(pl.col(by) == value)
        traces.append(
            _trace(
            "scatter",
                x=rows["period"].to_list(), y=_floats(rows, name), name=_cut(value, 28), mode="lines",
                line={"width": 2, "color": _colour(number, value)},
                hovertemplate=f"{value}: {axis.prefix}%{{y:{axis.hover}}}<extra></extra>",
            )
        )  # fmt: skip
    return _figure(traces, height, y=axis.layout(), hovermode="x unified")


def bars(
    frame: pl.DataFrame,
    axis: Axis,
    *,
    chosen: Sequence[str] = (),
    label: str = "value",
    now: str = "now",
    before: str | None = "before",
    tick: str = "Compared with",
) -> go.Figure:
    """A figure by value as lying bars, the first on top, with a tick where it stood before; clicked bars are told by value.

    Args:
        frame: a column of values, one of figures, and one of figures before where there are.
        axis: of the figures.
        chosen: values that stand out; the others are faded.
        label: column of the values.
        now: column of the figures.
        before: column of those before.
        tick: what the ticks are called.
    """
    values, figures = [str(v) for v in frame[label].to_list()], _floats(frame, now)
    texts, place = [axis.text(v) for v in figures], list(range(len(values)))
    marks = _bar_marks(values, axis, "x", chosen)
    traces: list[Any] = [_trace("bar", y=place, x=figures, orientation="h", **marks)]
    beside: list[float | None] = []
    if before and before in frame.columns and frame[before].null_count() < len(frame):
        beside = _floats(frame, before)
        traces.append(_ticks(beside, values, axis, tick))
    x, margin = axis.layout() | {"nticks": 3, "tickangle": 0}, {"l": 8, "r": 8, "t": 28, "b": 8}
    most = max([v for v in (*figures, *beside) if v is not None], default=0)
    traces.append(_texts(texts, figures, beside, most) | {"customdata": values})
    if most > 0 and min(v or 0 for v in figures) >= 0:
        x["range"] = [0, most * 1.02]
        margin["r"] = _wide(texts)
    height = max(120, 34 * len(values) + 60)
    y = _from_the_top(place, [_cut(v, 26) for v in values])
    return _figure(traces, height, x=x, y=y, bargap=0.3, margin=margin)


def standing_bars(frame: pl.DataFrame, axis: Axis, *, label: str = "value", now: str = "now") -> go.Figure:
    """A figure by value as standing bars in the order of the frame (periods, bands); the columns are those of `bars`."""
    values, figures = [str(v) for v in frame[label].to_list()], _floats(frame, now)
    outside = {
        "text": [axis.text(v) for v in figures],
        "textposition": "outside",
        "cliponaxis": False,
        "textangle": 0,
        "constraintext": "outside",
    }
    place, y = list(range(len(values))), axis.layout()
    x = {"tickvals": place, "ticktext": [_cut(v, 26) for v in values]}
    # On a phone texts have no room beside each other: those that would overlap are left to the table.
    if (known := [v for v in figures if v is not None]) and min(known) >= 0 and max(known) > 0:
        y["range"] = [0, max(known) * 1.12]
    trace = _trace("bar", x=place, y=figures, **_bar_marks(values, axis, "y"), **outside)
    return _figure([trace], 300, x=x, y=y, bargap=0.15, uniformtext={"minsize": 9, "mode": "hide"})


def _bar_marks(values: Sequence[str], axis: Axis, along: str, chosen: Sequence[str] = ()) -> dict[str, Any]:
    """How bars look and what they tell when pointed at; their figures lie along the axis x or y."""
    shade = [1.0 if not chosen or v in chosen else 0.35 for v in values]
    return {
        "marker": {"color": BLUE, "opacity": shade},
        "customdata": values,
        "name": "Now",
        "showlegend": False,
        "hovertemplate": f"<b>%{{customdata}}</b><br>{axis.prefix}%{{{along}:{axis.hover}}}<extra></extra>",
        **_PICKED,
    }


def _texts(
    texts: Sequence[str], figures: Sequence[float | None], beside: Sequence[float | None], most: float
) -> dict[str, Any]:
    """The texts of lying bars, behind the bar, or behind the tick where one stands in the way."""
    at = [v or 0 for v in figures]
    for number, tick in enumerate(beside):
        if tick is not None and at[number] - 0.03 * most < tick < at[number] + 0.3 * most:
            at[number] = max(at[number], tick + 0.01 * most)
    return _trace(
        "scatter", x=at, y=list(range(len(texts))), mode="text", text=[f" {text}" for text in texts],
        textposition="middle right", cliponaxis=False, hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _wide(texts: Sequence[str]) -> int:
    """Pixels that the longest of these labels takes, with the space beside it."""
    return _GAP + _CHARACTER * max((len(text) for text in texts), default=0)


def _from_the_top(places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis of names, the first on top."""
    return {"tickvals": list(places), "ticktext": list(names), "autorange": "reversed", "showgrid": False}


def _ticks(figures: list[float | None], values: list[str], axis: Axis, name: str) -> dict[str, Any]:
    """Where lying bars stood before, or what else they are compared with."""
    return _trace(
            "scatter",
        y=list(range(len(values))), x=figures, mode="markers", name=name, customdata=values,
        marker={"symbol": "line-ns-open", "size": 16, "color": ORANGE, "line": {"width": 3}},
        hovertemplate=f"<b>%{{customdata}}</b>, {name.lower()}<br>{axis.prefix}%{{x:{axis.hover}}}<extra></extra>",
    )  # fmt: skip


def differences(frame: pl.DataFrame, axis: Axis, label: str = "value", change: str = "change") -> go.Figure:
    """Changes by value as lying bars to either side."""
    values, figures = [str(v) for v in frame[label].to_list()], _floats(frame, change)
    place = list(range(len(values)))
    colours = [GREEN if (v or 0) >= 0 else RED for v in figures]
    text = [axis.text(v, signed=True) for v in figures]
    trace = _trace(
            "bar",
        y=place, x=figures, orientation="h", marker={"color": colours}, text=text, textposition="outside", cliponaxis=False, customdata=values,
        hovertemplate=f"<b>%{{customdata}}</b><br>{axis.prefix}%{{x:+{axis.hover}}}<extra></extra>", constraintext="none", **_PICKED,
    )  # fmt: skip
    known = [v for v in figures if v is not None]
    ends = [min(0.0, *known), max(0.0, *known)] if any(known) else [-1.0, 1.0]
    x = axis.layout() | {"zeroline": True, "zerolinecolor": GREY, "nticks": 4, "tickangle": 0, "range": ends}
    # Texts stand outside the ends of the axis, however narrow the picture is: between it and the names, and on the right.
    left, right = (
        [t for t, v in zip(text, figures, strict=True) if ((v or 0) < 0) == below] for below in (True, False)
    )
    y = _from_the_top(place, [_cut(v, 26) for v in values]) | {"ticklabelstandoff": _wide(left) if left else 0}
    margin = {"l": 8, "r": _wide(right), "t": 28, "b": 8}
    return _figure([trace], max(140, 32 * len(values) + 50), x=x, y=y, bargap=0.3, margin=margin)


def waterfall(
    start: tuple[str, float], parts: Sequence[tuple[str, float]], end: tuple[str, float], axis: Axis
) -> go.Figure:
    """How parts lead from one figure to another."""
    names = [start[0], *(n for n, _ in parts), end[0]]
    figures = [start[1], *(v for _, v in parts), end[1]]
    text = [axis.text(start[1]), *(axis.text(v, signed=True) for _, v in parts), axis.text(end[1])]
    trace = _trace(
            "waterfall",
        x=names, y=figures, measure=["absolute", *["relative"] * len(parts), "total"], text=text, textposition="outside",
        increasing={"marker": {"color": GREEN}}, decreasing={"marker": {"color": RED}}, totals={"marker": {"color": BLUE}},
        connector={"line": {"color": GREY, "width": 1}}, cliponaxis=False,
        hovertemplate="<b>%{x}</b><br>%{text}<extra></extra>",
    )  # fmt: skip
    low = min([start[1], end[1], *_running(start[1], parts)])
    high = max([start[1], end[1], *_running(start[1], parts)])
    # The parts are small beside the whole: the axis begins where they can be seen, and says so by its ticks.
    margin = (high - low) * 0.35 or high * 0.1
    return _figure(
        [trace],
        360,
        x={"tickvals": names, "ticktext": [_wrapped(n, 14) for n in names]},
        y=axis.layout() | {"range": [max(0.0, low - margin), high + margin]},
        showlegend=False,
    )


def _running(start: float, parts: Sequence[tuple[str, float]]) -> list[float]:
    found = []
    for _, value in parts:
        start += value
        found.append(start)
    return found


def heat(
    rows: Sequence[str], columns: Sequence[str], figures: Sequence[Sequence[float | None]], axis: Axis, *, height: int = 420,
    names: tuple[str, str] = ("", ""), most: float | None = None,
) -> go.Figure:  # fmt: skip
    """Figures by two things as a field of colours with their text."""
    text = [[axis.text(v) if v is not None else "" for v in line] for line in figures]
    trace = _trace(
            "heatmap",
        z=figures, x=list(columns), y=list(rows), text=text, texttemplate="%{text}" if len(columns) <= 16 else None,
        colorscale=SCALE, showscale=False, xgap=2, ygap=2, zmin=0, zmax=most, hoverongaps=False,
        hovertemplate=f"{names[0]} %{{y}}, {names[1]} %{{x}}<br><b>%{{text}}</b><extra></extra>",
    )  # fmt: skip
    plain = {"showgrid": False, "type": "category"}
    return _figure(
        [trace],
        height,
        x={**plain, "title": {"text": names[1]} if names[1] else None, "side": "top"},
        y={**plain, "title": {"text": names[0]} if names[0] else None, "autorange": "reversed"},
        margin={"l": 8, "r": 8, "t": 50, "b": 8},
    )


def intervals(
    names: Sequence[str], middles: Sequence[float | None], lows: Sequence[float | None], highs: Sequence[float | None],
    axis: Axis, none_at: float, axis_title: str,
) -> go.Figure:  # fmt: skip
    """Effects with their intervals, and a line where there would be none."""
    place = list(range(len(names)))
    sure = [
        GREY if low is None or high is None or low <= none_at <= high else BLUE
        for low, high in zip(lows, highs, strict=True)
    ]
    up = [None if h is None or m is None else h - m for m, h in zip(middles, highs, strict=True)]
    down = [None if low is None or m is None else m - low for m, low in zip(middles, lows, strict=True)]
    traces = [
        _trace(
            "scatter",
            x=[m], y=[p], mode="markers", marker={"size": 11, "color": c}, showlegend=False,
            error_x={"type": "data", "symmetric": False, "array": [u], "arrayminus": [d], "color": c, "thickness": 2, "width": 5},
            hovertemplate=f"<b>{n}</b><br>{axis.prefix}%{{x:.2f}}<extra></extra>",
        )
        for p, n, m, u, d, c in zip(place, names, middles, up, down, sure, strict=True)
    ]  # fmt: skip
    none = {
        "type": "line", "xref": "x", "yref": "y domain", "x0": none_at, "x1": none_at, "y0": 0, "y1": 1,
        "line": {"color": GREY, "dash": "dot", "width": 1.5},
    }  # fmt: skip
    return _figure(
        traces,
        max(180, 34 * len(names) + 80),
        x={"zeroline": False, "nticks": 5, "tickangle": 0},
        y=_from_the_top(place, [_cut(n, 36) for n in names]),
        shapes=[none],
        # Not a title of the axis, which is cut off where that is shorter than its words.
        annotations=[
            {
                "text": axis_title,
                "xref": "paper",
                "yref": "paper",
                "x": 1,
                "xanchor": "right",
                "y": 0,
                "yanchor": "top",
                "yshift": -24,
                "showarrow": False,
            }
        ],
        margin={"l": 8, "r": 8, "t": 28, "b": 48},
    )


def funnel(steps: Sequence[tuple[str, float]]) -> go.Figure:
    """Steps of a way, each with how many came so far."""
    trace = _trace(
            "funnel",
        y=[n for n, _ in steps], x=[v for _, v in steps], textinfo="value+percent initial", marker={"color": BLUE},
        connector={"fillcolor": "rgba(59,125,216,0.15)"}, constraintext="none",
        hovertemplate="<b>%{y}</b><br>%{x:,.0f}, %{percentPrevious:.1%} of the step before<extra></extra>",
    )  # fmt: skip
    return _figure([trace], 320, showlegend=False)


def points_on_a_map(
    latitudes: Sequence[float], longitudes: Sequence[float], sizes: Sequence[float], colours: Sequence[float | None],
    texts: Sequence[str], what: str, axis: Axis,
) -> go.Figure:  # fmt: skip
    """Places by their coordinates, to scale in the middle of them; without a map below, which would have to be fetched."""
    from math import cos, nan, radians

    most = max(sizes, default=1) or 1
    marker: dict[str, Any] = {
        "size": [5 + 22 * (s / most) ** 0.5 for s in sizes], "color": BLUE, "opacity": 0.75, "line": {"width": 0.5, "color": GREY},
    }  # fmt: skip
    if any(c is not None for c in colours):
        bar = {"title": {"text": what, "side": "right"}, "tickformat": axis.layout()["tickformat"], "thickness": 12}
        marker |= {"color": [nan if c is None else c for c in colours], "colorscale": "Cividis", "colorbar": bar}
    trace = _trace(
        "scatter",
        x=list(longitudes),
        y=list(latitudes),
        mode="markers",
        text=list(texts),
        hovertemplate="%{text}<extra></extra>",
        marker=marker,
    )
    middle = sum(latitudes) / len(latitudes) if latitudes else 0
    bare = {"showgrid": False, "showticklabels": False}
    to_scale = {"scaleanchor": "x", "scaleratio": 1 / max(cos(radians(middle)), 0.2)}
    return _figure([trace], 520, x=bare, y=bare | to_scale)


def network(nodes: Sequence[tuple[str, int, float, str]], edges: Sequence[tuple[str, str]], chosen: str) -> go.Figure:
    """Tables and from what they are made, from left to right; a click tells a table's name.

    Args:
        nodes: name, column, row, colour of each.
        edges: from, to.
        chosen: the node that stands out.
    """
    at = {name: (column, row) for name, column, row, _ in nodes}
    x: list[Any] = []
    y: list[Any] = []
    for first, second in edges:
        x += [at[first][0], at[second][0], None]
        y += [at[first][1], at[second][1], None]
    labels = [n.partition(".")[2] for n, *_ in nodes]
    traces = [
        _trace("scatter", x=x, y=y, mode="lines", line={"color": GREY, "width": 1}, opacity=0.5, hoverinfo="skip", showlegend=False),
        _trace(
            "scatter",
            x=[c for _, c, _, _ in nodes], y=[r for _, _, r, _ in nodes], mode="markers+text", text=labels,
            textposition="top center", customdata=[n for n, *_ in nodes], showlegend=False, cliponaxis=False,
            marker={
                "size": [20 if n == chosen else 13 for n, *_ in nodes], "color": [c for *_, c in nodes],
                "line": {"width": [3 if n == chosen else 0 for n, *_ in nodes], "color": ORANGE},
            },
            hovertemplate="<b>%{customdata}</b><br>click to look at it<extra></extra>", **_PICKED,
        ),
    ]  # fmt: skip
    most = max((sum(1 for _, c, *_ in nodes if c == column) for column in {c for _, c, *_ in nodes}), default=1)
    columns = [c for _, c, *_ in nodes]
    x_axis = {"visible": False, "range": [min(columns) - 0.45, max(columns) + 0.45]}  # room for the names at the ends
    return _figure(traces, max(260, 52 * most + 80), x=x_axis, y={"visible": False})


def _colour(number: int, value: str) -> str:
    return GREY if value in ("all others", "unknown") else COLOURS[number % len(COLOURS)]


def _floats(frame: pl.DataFrame, column: str) -> list[float | None]:
    return [None if v is None else float(v) for v in frame[column].to_list()]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
