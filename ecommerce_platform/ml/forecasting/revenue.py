"""Revenue and orders of the next four weeks: by day, for the shop and for each category, with intervals and backtests.

The model `revenue_forecast`. Methods, backtests and what adds up are in the modules beside this one; here the shop's
tables become panels and panels become rows of `ml.revenue_forecast`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.columns import Rule
from ecommerce_platform.ml.forecasting import frames, panel, regressors, rows
from ecommerce_platform.ml.forecasting.backtest import HORIZON, MOST_CHOOSING, MOST_JUDGING, STEP
from ecommerce_platform.ml.forecasting.methods import BASELINE, METHODS, Method
from ecommerce_platform.ml.forecasting.series import closed_weekdays
from ecommerce_platform.ml.lifecycle import Evaluation, Exhibit, Inputs, Model, select

if TYPE_CHECKING:
    import polars as pl

TABLE = "ml.revenue_forecast"
#: Every module of this package: a change in any of them may change what is forecast.
CODE = tuple(sorted(Path(__file__).parent.glob("*.py")))
LIBRARIES = ("numpy", "scipy", "statsmodels")
IMPORTS = (
    "statsmodels.tsa.exponential_smoothing.ets",
    "statsmodels.tsa.forecasting.theta",
    "statsmodels.tsa.seasonal",
    "statsmodels.tsa.statespace.sarimax",
    "statsmodels.tsa.stattools",
)
MEASURES = ("revenue", "orders")


class RevenueForecast(Model):
    """See the module, and `lifecycle.Model`."""

    name, baseline = "revenue_forecast", BASELINE
    title = "Revenue and orders of the next four weeks"
    purpose = "Plan money, staff and advertising by day, with a range that nine of ten days shall lie within."
    limits = (
        "Knows weekdays, level and trend. What comes once a year it knows only where two years are there, and then only "
        "by what the full tournament found.",
        "What nobody could know (a mention on television) is no part of it; its range is that of ordinary days.",
    )
    inputs = {
        "days": select("daily_sales"),
        "categories": select("category_sales"),
        "indicators": select("published_indicators"),
    }
    trained_on = ("days", "categories", "indicators")
    scored_on = {TABLE: ("days", "categories", "indicators")}
    columns = {
        "measure": Rule("text", choices=MEASURES),
        "series": Rule("text"),
        "forecast_date": Rule("day"),
    }
    code = CODE
    libraries = LIBRARIES
    imports = IMPORTS
    stored_as = "json"

    def evaluate(self, inputs: Inputs, *, seed: int, full: bool) -> Evaluation:
        """Backtests every series, and judges what would have been published against the seasonal naive forecast."""
        extra = extra_methods(inputs, full=full)
        return evaluation([panel.backtest_panel(p, full=full, extra=extra) for p in _panels(inputs)], seed)

    def fit(self, inputs: Inputs, method: str, evaluation: Evaluation, *, seed: int, full: bool) -> dict[str, Any]:
        """Every series' method on all days."""
        return fit_panels(evaluation.carry, extra_methods(inputs, full=full), baseline=method == self.baseline)

    def to_state(self, fitted: dict[str, Any]) -> dict[str, Any]:
        """It is plain JSON values."""
        return fitted

    def from_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """It is plain JSON values."""
        return state

    def score(self, fitted: dict[str, Any], inputs: Inputs, table: str) -> pl.DataFrame:
        """The next 28 days of every series as of the newest whole day, and the newest windows of the backtest."""
        found = []
        for state in fitted["panels"]:
            extra = extra_methods(inputs, full=needs_extra(state), first=date.fromisoformat(state["first"]))
            found += panel_rows(state, _panel(state["measure"], inputs, state), extra)
        return rows.frame(found)

    def predict(self, fitted: dict[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
        """The forecast of each row's day, as of the last day of the training."""
        return predict_days(fitted, rows)

    def parameters(self, *, full: bool) -> dict[str, Any]:
        """Horizon and origins."""
        return {"horizon": HORIZON, "step": STEP, "judging": MOST_JUDGING, "choosing": MOST_CHOOSING}

    def window(self, inputs: Inputs) -> tuple[date | None, date | None]:
        """The days that count."""
        within = frames.window(inputs["days"])
        return (within.first, within.last) if within else (None, None)

    def features(self, fitted: dict[str, Any]) -> tuple[str, ...]:
        """The past of each series is all that is used."""
        return ("the series' own past days",)

    def about(self, fitted: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
        """What the totals look like, and days that were left out."""
        return about(fitted, _panels(inputs))

    def exhibits(
        self, fitted: dict[str, Any], inputs: Inputs, evaluation: Evaluation, *, seed: int
    ) -> Sequence[Exhibit]:
        """The totals, as they were, had been forecast and are forecast."""
        return [rows.picture(state, p) for state, p in zip(fitted["panels"], _panels(inputs), strict=True)]


def _panels(inputs: Inputs) -> list[panel.Panel]:
    return [p for p in (_panel(measure, inputs) for measure in MEASURES) if p is not None]


def _panel(measure: str, inputs: Inputs, state: Mapping[str, Any] | None = None) -> panel.Panel | None:
    first = date.fromisoformat(state["first"]) if state else None
    within = frames.window(inputs["days"], first)
    if within is None:
        return None
    # An order holds products of several categories: orders of categories add up to more than the shop's.
    categories = inputs["categories"] if measure == "revenue" else None
    return frames.panel(measure, inputs["days"], within, categories, category_names(state) if state else None)


# -- what the demand model does in the same way --------------------------------------------------------------------


def category_names(state: Mapping[str, Any]) -> list[str]:
    """Categories that a kept panel tells apart."""
    return [m["series"] for m in state["members"] if m["series"] not in (panel.TOTAL, frames.OTHERS)]


def evaluation(tested: Sequence[panel.Backtested], seed: int) -> Evaluation:
    """The lifecycle's evaluation of some panels."""
    decided = rows.decided(tested)
    coverages = {t.panel.measure: rows.covered(t, seed) for t in tested}
    return Evaluation(
        rows.METHOD,
        [*([decided] if decided else []), *(c for t in tested for c in rows.comparisons(t))],
        not_evaluated=None if decided else "there are too few whole days to forecast from any earlier one (112)",
        metrics={"coverage": coverages, "verdicts": rows.verdicts(tested)},
        exhibits=rows.exhibits(tested, coverages),
        carry=list(tested),
    )


def extra_methods(inputs: Inputs, *, full: bool, first: date | None = None) -> dict[str, Method]:
    """Methods with regressors as of the frames' last day, and Prophet; none unless the tournament is the full one.

    Args:
        inputs: `days`, with `orders` and `discount_share`, and `indicators`.
        full: whether it is.
        first: the first day of the series, where a kept fit says so.
    """
    within = frames.window(inputs["days"], first)
    if not full or within is None:
        return {}
    days = [within.first + timedelta(days=place) for place in range(within.days + HORIZON)]
    orders, discount = (
        frames.panel(column, inputs["days"], within).total.values for column in ("orders", "discount_share")
    )
    closed = (orders == 0) & ~np.resize(closed_weekdays(orders), len(orders))
    groups = {
        "holidays": regressors.holidays(days),
        "closed_days": regressors.a_year_ago(closed.astype(float), HORIZON),
        "sale_days": regressors.a_year_ago(discount, HORIZON),
    }
    if inputs["indicators"].height:
        published = inputs["indicators"].select("indicator", "published_on", "period_date", "value")
        groups["indicators"] = regressors.indicators(days, published.rows())
    return regressors.all_methods(within.first, groups, full=full)


def needs_extra(state: Mapping[str, Any]) -> bool:
    """Whether a kept panel has a series whose method is none of the plain ones."""
    return any(member["method"] not in METHODS for member in state["members"])


def fit_panels(tested: Sequence[panel.Backtested], extra: Mapping[str, Method], *, baseline: bool) -> dict[str, Any]:
    """Kept panels, each with the backtests that are shown and the forecasts as of its last day."""
    kept = []
    for one in tested:
        state = panel.fit_panel(one, baseline=baseline, extra=extra)
        found = panel.carry_forward(state, one.panel, extra)
        state["backtests"] = panel.shown_backtests(one, baseline=baseline)
        state["last"] = one.panel.total.day(len(one.panel.total) - 1).isoformat()
        state["forecasts"] = {
            series.name: {
                "forecast": found["forecast"][number].tolist(),
                **{end: panel.plain(found[end][number]) for end in ("low", "high")},
            }
            for number, series in enumerate(one.panel.members)
        }
        kept.append(state)
    return {"panels": kept}


def panel_rows(state: Mapping[str, Any], now: panel.Panel | None, extra: Mapping[str, Method]) -> list[dict[str, Any]]:
    """Forecasts of a panel as it is now, by a kept fit, and the kept fit's backtests."""
    found = rows.backtest_rows(state["measure"], state["backtests"])
    if now is not None:
        methods = {member["series"]: member["method"] for member in state["members"]}
        found += rows.forecast_rows(state["measure"], now, panel.carry_forward(state, now, extra), methods)
    return found


def predict_days(fitted: Mapping[str, Any], asked: pl.DataFrame) -> pl.DataFrame:
    """Forecasts of the days that a file asks for, in its order.

    Args:
        fitted: of `fit_panels`.
        asked: `measure`, `series` and `forecast_date`.

    Raises:
        InputError: a series that is not forecast, or a day outside the four weeks after the training.
    """
    import polars as pl

    known = {
        (state["measure"], name): (date.fromisoformat(state["last"]), found)
        for state in fitted["panels"]
        for name, found in state["forecasts"].items()
    }
    answers = []
    for number, (measure, series, day) in enumerate(asked.select("measure", "series", "forecast_date").iter_rows(), 1):
        where = f"row {number}"
        if (measure, series) not in known:
            names = ", ".join(sorted(name for m, name in known if m == measure)) or "nothing"
            raise InputError(f"{series!r} is no series of {measure}", where=where, fix=f"ask for one of: {names}")
        last, found = known[measure, series]
        step = (day - last).days - 1
        if not 0 <= step < HORIZON:
            raise InputError(
                f"{day} is not among the days forecast",
                where=where,
                fix=f"ask for a day from {last + timedelta(days=1)} to {last + timedelta(days=HORIZON)}, or train again",
            )
        answers.append((found["forecast"][step], found["low"][step], found["high"][step]))
    schema = {"forecast": pl.Float64, "low_90": pl.Float64, "high_90": pl.Float64}
    return pl.concat([asked, pl.DataFrame(answers, schema=schema, orient="row")], how="horizontal")


def about(fitted: Mapping[str, Any], panels: Sequence[panel.Panel]) -> dict[str, Any]:
    """What the card says of the totals and of how parts were made to add up."""
    return {
        "diagnoses": rows.diagnoses(panels),
        "reconciliation": {state["measure"]: state["reconciliation"] for state in fitted["panels"]},
        "days_left_out": max((state["left_out"] for state in fitted["panels"]), default=0),
    }


MODEL = RevenueForecast()
