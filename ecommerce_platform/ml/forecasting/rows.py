"""What panels say as rows of tables, as comparisons for the gate and as parts of a card; shared by both forecast models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml.forecasting.backtest import COVERAGE, HORIZON, STEP
from ecommerce_platform.ml.forecasting.diagnostics import diagnose
from ecommerce_platform.ml.forecasting.measures import paired_interval
from ecommerce_platform.ml.forecasting.methods import BASELINE
from ecommerce_platform.ml.forecasting.panel import (
    TOTAL,
    Backtested,
    Panel,
    accuracy,
    coverage_interval,
    interval_of,
    pooled_losses,
)
from ecommerce_platform.ml.lifecycle import Comparison, Exhibit
from ecommerce_platform.ml.plots import Band, Layer, Line, plot

if TYPE_CHECKING:
    import polars as pl

#: What a promoted model is called in tables.
METHOD = "best_per_series"
_OF_CATEGORIES = ("mase", "wape", "coverage_90")


def level(series: str) -> str:
    """Whether a series is the total or a category."""
    return TOTAL if series == TOTAL else "category"


def decided(tested: Sequence[Backtested]) -> Comparison | None:
    """The comparison that decides: the mean absolute error over all series, in shares of the baseline's.

    The interval is that of the difference over judged origins, as `measures.paired_interval` makes it; None where no
    panel could be judged.
    """
    judged = [t for t in tested if t.plan is not None]
    if not judged:
        return None
    used = np.mean([pooled_losses(t, t.used) for t in judged], axis=0)
    naive = np.mean([pooled_losses(t, t.naive) for t in judged], axis=0)
    low, high = paired_interval(used - naive, HORIZON // STEP)
    if not np.isfinite(low):
        return None
    return Comparison(
        "relative_mae", float(used.mean()), float(naive.mean()), low, high,
        fold=_fold(judged[0]), decides=True, lower_is_better=True,
    )  # fmt: skip


def _fold(tested: Backtested) -> str:
    assert tested.plan is not None
    return tested.panel.total.day(int(tested.plan.judging[0])).isoformat()


def comparisons(tested: Backtested) -> list[Comparison]:
    """Every measure of the total, and the main ones of each category, beside the baseline's."""
    if tested.plan is None:
        return []
    found, fold = [], _fold(tested)
    for number, member in enumerate(tested.members):
        ours, theirs = accuracy(tested, tested.used, number), accuracy(tested, tested.naive, number)
        wanted = tuple(ours) if number == 0 else _OF_CATEGORIES
        for name in wanted:
            if np.isfinite(ours[name]) and np.isfinite(theirs[name]):
                metric = f"{name} of {tested.panel.measure}, {member.series.name}"
                found.append(Comparison(metric, ours[name], theirs[name], fold=fold))
    return found


def covered(tested: Backtested, seed: int) -> dict[str, Any]:
    """Coverage of the published intervals of the total on the judged windows, bootstrapped over origins.

    `below` is true where the whole interval lies below what intervals shall hold: then the page warns.
    """
    if tested.plan is None:
        return {}
    low, high = interval_of(tested, tested.used, 0)
    actual = tested.judged(tested.actual)[0]
    inside = np.where(np.isfinite(low), (actual >= low) & (actual <= high), np.nan)
    if not np.isfinite(inside).any():
        return {}
    ends = coverage_interval(inside, seed)
    return {
        "coverage_90": float(np.nanmean(inside)),
        "interval": list(ends),
        "below": ends[1] < COVERAGE,
    }


def verdicts(tested: Sequence[Backtested]) -> list[dict[str, Any]]:
    """Who won each series and by how much, as plain JSON values."""
    return [
        {
            "measure": t.panel.measure,
            "series": member.series.name,
            "kind": member.verdict.kind,
            "chosen": member.verdict.chosen,
            "used": member.verdict.used,
            "why": member.verdict.why,
            "difference": [float(x) if np.isfinite(x) else None for x in member.verdict.interval],
            "losses": {name: loss for name, loss in member.verdict.losses.items() if np.isfinite(loss)},
            "failed": dict(member.tried.failed) if member.tried else {},
        }
        for t in tested
        for member in t.members
    ]


def diagnoses(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Trend, seasonal strength and unit-root tests of the totals, as plain JSON values."""
    found = []
    for panel in panels:
        d = diagnose(panel.total.values)
        found.append(
            {
                "measure": panel.measure,
                "trend_per_day": d.trend_per_day,
                "trend_share_per_year": d.trend_share_per_year,
                "trend_strength": d.trend_strength,
                "season_strength": d.season_strength,
                "adf": list(d.adf) if d.adf else None,
                "kpss": list(d.kpss) if d.kpss else None,
            }
        )
    return found


def exhibits(tested: Sequence[Backtested], coverages: Mapping[str, Mapping[str, Any]]) -> list[Exhibit]:
    """For the card: the winner of each series, and whether intervals hold what they say."""
    rows = []
    for v in verdicts(tested):
        own, base = v["losses"].get(v["chosen"]), v["losses"].get(BASELINE)
        share = f"{own / base:.2f}" if own is not None and base else "–"
        low, high = v["difference"]
        span = "–" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
        rows.append((v["measure"], v["series"], v["kind"], v["chosen"], share, span, v["used"], v["why"]))
    header = ("measure", "series", "kind", "best on earlier days", "its loss / baseline's", "difference", "used", "why")
    found = [
        Exhibit("Who won", "Losses on the windows that nobody had seen, against the seasonal naive.", header, rows)
    ]
    lines = [
        (
            name,
            f"{c['coverage_90']:.1%}",
            f"{c['interval'][0]:.1%} to {c['interval'][1]:.1%}",
            "too narrow" if c["below"] else "",
        )
        for name, c in coverages.items()
        if c
    ]
    if lines:
        text = "Share of days within their 90 % interval, each made from errors before its origin."
        found.append(Exhibit("Do intervals hold", text, ("measure", "coverage", "95 % interval", ""), lines))
    return found


def picture(state: Mapping[str, Any], panel: Panel) -> Exhibit:
    """The total: what came, what earlier forecasts had said with their ranges, and what is forecast.

    Args:
        state: a kept panel with `backtests` and `forecasts`.
        panel: the days it was fitted on.
    """
    total, shown = panel.total, [b for b in state["backtests"] if b["series"] == TOTAL]
    days = [total.day(place) for place in range(max(len(total) - 140, 0), len(total))]
    came = total.values[-len(days) :].tolist() if days else []
    ahead = state["forecasts"][TOTAL]
    windows = [(date.fromisoformat(b["first"]), b) for b in sorted(shown, key=lambda b: b["first"])]
    windows.append((total.day(len(total)), ahead))
    layers: list[Layer] = []
    for first, found in windows:
        x = [first + timedelta(days=step) for step in range(len(found["forecast"]))]
        layers.append(Band(x, found["low"], found["high"]))
    layers.append(Line(days, came, "what came"))
    for number, (first, found) in enumerate(windows):
        x = [first + timedelta(days=step) for step in range(len(found["forecast"]))]
        layers.append(Line(x, found["forecast"], "forecast" if number == 0 else "", dashed=True))
    text = f"{state['measure']} by day: earlier forecasts from the end of what they knew, with their 90 % ranges, and the next."
    svg = plot(*layers, title=f"{state['measure'].capitalize()} by day", y=state["measure"])
    return Exhibit(f"Forecast of {state['measure']}", text, svg=svg)


def forecast_rows(
    measure: str, panel: Panel, found: Mapping[str, np.ndarray], methods: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row per series and day ahead, from `panel.carry_forward`."""
    origin = panel.total.day(len(panel.total) - 1)
    return [
        {
            "measure": measure, "level": level(series.name), "series": series.name, "is_backtest": False,
            "origin_date": origin, "forecast_date": origin + timedelta(days=step + 1), "horizon": step + 1,
            "forecast": float(found["forecast"][number, step]), "low_90": _known(found["low"][number, step]),
            "high_90": _known(found["high"][number, step]), "actual": None,
            "method": methods.get(series.name, BASELINE),
        }
        for number, series in enumerate(panel.members)
        for step in range(HORIZON)
    ]  # fmt: skip


def backtest_rows(measure: str, shown: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per series, origin and day, from `panel.shown_backtests`."""
    rows = []
    for window in shown:
        first = date.fromisoformat(window["first"])
        for step in range(len(window["forecast"])):
            rows.append(
                {
                    "measure": measure, "level": level(window["series"]), "series": window["series"],
                    "is_backtest": True, "origin_date": first - timedelta(days=1),
                    "forecast_date": first + timedelta(days=step), "horizon": step + 1,
                    "forecast": window["forecast"][step], "low_90": window["low"][step],
                    "high_90": window["high"][step], "actual": window["actual"][step], "method": window["method"],
                }
            )  # fmt: skip
    return rows


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of both kinds as a frame; empty ones, too, have their columns."""
    import polars as pl

    schema = {
        "measure": pl.String,
        "level": pl.String,
        "series": pl.String,
        "is_backtest": pl.Boolean,
        "origin_date": pl.Date,
        "forecast_date": pl.Date,
        "horizon": pl.Int64,
        "forecast": pl.Float64,
        "low_90": pl.Float64,
        "high_90": pl.Float64,
        "actual": pl.Float64,
        "method": pl.String,
    }
    return pl.DataFrame(list(rows), schema=schema)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
