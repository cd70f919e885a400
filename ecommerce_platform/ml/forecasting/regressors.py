"""Days that are not like others: holidays, closed days, sales, the economy; and Prophet, where it is installed.

Tried for the totals in the full tournament, each as regressors of the seasonal ARIMA, and used only where they win. A
forecast knows of them what was known at its origin: the calendar; what the same days were a year ago; indicators as
they had been published by then, whose last value is taken to go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from typing import Any

import numpy as np

from ecommerce_platform.ml.forecasting.methods import SARIMA, Method, Parameters, quiet, sarima_paths

_YEAR = 364  # whole weeks: the same weekday
#: What a day without sales counts as where logarithms are taken, in shares of the usual.
_WORST_DAY = 0.02
#: What names of methods with regressors begin with.
PREFIX = "sarima+"
PROPHET = "prophet"


@dataclass(frozen=True)
class Regressors:
    """Values beside a series, from its first day on and beyond its last.

    Attributes:
        values: n × p, as known on the day itself (indicators) or as known a year before and always (all others).
        held: p booleans: whether days ahead are not known and the last value is taken to go on.
    """

    values: np.ndarray
    held: np.ndarray

    def ahead(self, origin: int, horizon: int) -> np.ndarray:
        """What is known at an origin about the days after it; H × p."""
        days = self.values[origin : origin + horizon]
        return np.where(self.held[None, :], self.values[origin - 1][None, :], days)


def holidays(days: list[date]) -> Regressors:
    """Days on which shops of the western calendar sell otherwise: Christmas, New Year, Easter, Black Friday's week.

    Args:
        days: consecutive days.

    Returns:
        Columns for Christmas (24th to 26th), the days before it (from the 18th) and after it, New Year, Easter (Friday to
        Monday), Black Friday and its week.
    """
    rows = []
    for day in days:
        to_easter = (day - easter(day.year)).days
        to_friday = (day - black_friday(day.year)).days
        christmas = day.month == 12
        rows.append(
            (
                christmas and 24 <= day.day <= 26,
                christmas and 18 <= day.day <= 23,
                christmas and 27 <= day.day <= 30,
                (day.month, day.day) in ((12, 31), (1, 1)),
                -2 <= to_easter <= 1,
                to_friday in (0, 3),
                -4 <= to_friday <= 3,
            )
        )
    values = np.array(rows, dtype=float).reshape(len(rows), 7)
    return Regressors(values, np.zeros(7, dtype=bool))


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (anonymous algorithm; Meeus 1991, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 19 * m) // 433
    month = (h + m - 7 * n + 90) // 25
    return date(year, month, (h + m - 7 * n + 33 * month + 19) % 32)


def black_friday(year: int) -> date:
    """The Friday after the fourth Thursday of November."""
    first = date(year, 11, 1)
    return first + timedelta(days=(3 - first.weekday()) % 7 + 22)


def a_year_ago(daily: np.ndarray, horizon: int) -> Regressors:
    """What the same weekday 52 weeks earlier had, such as a day without orders or the share given as discount.

    Args:
        daily: n values, one per day.
        horizon: days ahead that are needed.
    """
    values = np.zeros(len(daily) + horizon)
    values[_YEAR:] = daily[: max(len(values) - _YEAR, 0)]
    return Regressors(values[:, None], np.zeros(1, dtype=bool))


def indicators(days: list[date], published: list[tuple[str, date, date, float]]) -> Regressors:
    """The newest period's value of each indicator among those published by each day.

    Args:
        days: consecutive days.
        published: indicator, day of publication, first day of the period it is about, and value; each revision is one of
            its own.
    """
    names = sorted({name for name, *_ in published})
    values = np.zeros((len(days), len(names)))
    for column, name in enumerate(names):
        mine = sorted((when, period, value) for n, when, period, value in published if n == name)
        newest: tuple[date, float] | None = None
        place = 0
        for row, day in enumerate(days):
            while place < len(mine) and mine[place][0] <= day:
                _, period, value = mine[place]
                if newest is None or period >= newest[0]:
                    newest = (period, value)
                place += 1
            values[row, column] = newest[1] if newest else np.nan
        # Before anything was published the first value stands, which says nothing.
        known = np.flatnonzero(np.isfinite(values[:, column]))
        values[:, column] = np.nan_to_num(values[:, column], nan=values[known[0], column] if len(known) else 0.0)
    return Regressors(values, np.ones(len(names), dtype=bool))


def together(*groups: Regressors) -> Regressors:
    """Several groups side by side."""
    return Regressors(np.hstack([g.values for g in groups]), np.concatenate([g.held for g in groups]))


def with_regressors(name: str, regressors: Regressors) -> Method:
    """The seasonal ARIMA with regressors, its errors being what the ARIMA is of; without those that have not varied yet.

    On logarithms where all values before the first origin are above 0, since a sale multiplies what is sold; else on the
    values themselves.

    Args:
        name: of the group; the method is called `sarima+<name>`.
        regressors: their first row belongs to the first value of the series.
    """
    order, seasonal = SARIMA

    def fit(values: np.ndarray) -> Parameters:
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        beside = regressors.values[: len(values)]
        used = np.flatnonzero(_tell_something(beside))
        form = {"scale": float(np.abs(values).mean()) or 1.0, "log": bool(values.min() > 0)}
        spread = np.ptp(beside[:, used], axis=0)
        exog = beside[:, used] / spread if len(used) else None
        with quiet():
            found = SARIMAX(
                _transformed(form, values), exog=exog, order=order, seasonal_order=seasonal,
                simple_differencing=True,
            ).fit(disp=0)  # fmt: skip
        effects = found.params[: len(used)] / spread
        rest = [float(p) for p in found.params[len(used) :]]
        return {**form, "columns": used.tolist(), "effects": effects.tolist(), "coefficients": rest}

    def paths(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        columns, effects = parameters["columns"], np.array(parameters["effects"])
        without = _transformed(parameters, values) - regressors.values[: len(values), columns] @ effects
        found = sarima_paths(without, order, seasonal, parameters["coefficients"], origins, horizon)
        found += np.array([regressors.ahead(int(origin), horizon)[:, columns] @ effects for origin in origins])
        return parameters["scale"] * (np.exp(found) if parameters["log"] else found)

    return Method(PREFIX + name, fit, paths)


def _transformed(form: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    """In units of the mean; their logarithm, if all were above 0, days without anything then being very bad ones."""
    scaled = values / form["scale"]
    return np.log(np.maximum(scaled, _WORST_DAY)) if form["log"] else scaled


def _tell_something(values: np.ndarray) -> np.ndarray:
    """Which columns vary often enough for an effect to be told from chance, and are no sum of those before them."""
    differenced = values[7:] - values[:-7]
    useful = (np.abs(differenced) > 0).sum(axis=0) >= 2
    kept: list[int] = []
    for column in np.flatnonzero(useful).tolist():
        if np.linalg.matrix_rank(differenced[:, [*kept, column]]) == len(kept) + 1:
            kept.append(column)
    found = np.zeros(values.shape[1], dtype=bool)
    found[kept] = True
    return found


def prophet(first: date) -> Method:
    """Prophet (Taylor and Letham 2018) with its own seasons; it has no states: only a new fit learns from later days.

    Args:
        first: day of the first value of the series.
    """

    def fit(values: np.ndarray) -> Parameters:
        import pandas as pd
        from prophet import Prophet
        from prophet.serialize import model_to_json

        _without_noise()
        days = pd.date_range(first, periods=len(values))
        model = Prophet(uncertainty_samples=0).fit(pd.DataFrame({"ds": days, "y": values}))
        return {"model": model_to_json(model)}

    def paths(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        import pandas as pd
        from prophet.serialize import model_from_json

        model = model_from_json(parameters["model"])
        days = pd.date_range(first, periods=int(origins.max()) + horizon)
        found = model.predict(pd.DataFrame({"ds": days}))["yhat"].to_numpy()
        return found[origins[:, None] + np.arange(horizon)[None, :]]

    return Method(PROPHET, fit, paths)


def _without_noise() -> None:
    import logging

    for name in ("cmdstanpy", "prophet"):
        logging.getLogger(name).setLevel(logging.ERROR)


def prophet_is_installed() -> bool:
    """Whether the extra `prophet` is there."""
    return find_spec("prophet") is not None


def all_methods(first: date, groups: Mapping[str, Regressors], *, full: bool) -> dict[str, Method]:
    """Methods with each group of regressors, with all groups together, and Prophet, by name.

    Args:
        first: day of the first value of the series.
        groups: regressors by name.
        full: whether the tournament is the full one; else there are none.
    """
    if not full:
        return {}
    several = {**groups, "all": together(*groups.values())} if len(groups) > 1 else dict(groups)
    found: dict[str, Any] = {m.name: m for m in (with_regressors(name, one) for name, one in several.items())}
    if prophet_is_installed():
        found[PROPHET] = prophet(first)
    return found
