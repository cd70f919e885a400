"""Forecasting methods for daily series: parameters estimated once, then carried forward to any later origin.

A method is two functions. `fit(values)` estimates parameters from the values before the first origin, as plain numbers.
`paths(parameters, values, origins, horizon)` forecasts from each origin with those parameters: states (levels, seasons,
last errors) follow the values up to the origin, parameters stay, and nothing from the origin on is looked at. One pass
over the series gives all origins. Which method is used for which series is decided in `backtest`.

Everything that statsmodels estimates is estimated there; carrying its states forward is done with its own filters
(Kalman filter, ETS smoothing) or, for Theta, by its two equations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecommerce_platform.ml.forecasting.series import WEEK, closed_weekdays

Parameters = Mapping[str, Any]
BASELINE = "seasonal_naive"
#: Weeks that the weekday mean averages.
_MEAN_WEEKS = 8
_NEXT_TO_NOTHING = 1e-6
_ARIMA = ((5, 1, 2), (0, 0, 0, 0))
SARIMA = ((0, 1, 1), (0, 1, 1, WEEK))


@dataclass(frozen=True)
class Method:
    """A forecasting method; see the module.

    Attributes:
        name: as tables show it.
        fit: from n values to its parameters (JSON numbers, texts and lists). Raises what its library raises where
            the values do not determine them.
        paths: from parameters, n values, K origins (numbers of known values, 7 to n) and a horizon H to K × H forecasts.
    """

    name: str
    fit: Callable[[np.ndarray], Parameters]
    paths: Callable[[Parameters, np.ndarray, np.ndarray, int], np.ndarray]


def forecasts(
    method: Method, parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int
) -> np.ndarray:
    """K × H forecasts of a method, not below 0 and 0 on weekdays that were closed lately.

    Args:
        method: the method.
        parameters: of its fit.
        values: n daily values, none below 0.
        origins: K numbers of known values.
        horizon: days ahead.
    """
    with quiet():
        found = np.maximum(method.paths(parameters, values, origins, horizon), 0.0)
    for row, origin in enumerate(origins.tolist()):
        closed = closed_weekdays(values[max(origin - 8 * WEEK, 0) : origin])
        if closed.any():
            begin = max(origin - 8 * WEEK, 0)
            found[row, closed[(origin - begin + np.arange(horizon)) % WEEK]] = 0.0
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of the optimisers: which fits are good, the backtest says."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _nothing(_: np.ndarray) -> Parameters:
    return {}


def _seasonal_naive(_: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The value of the same weekday in the last known week."""
    return values[origins[:, None] - WEEK + np.arange(horizon)[None, :] % WEEK]


def _weekday_mean(_: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The mean of the same weekday in the last eight weeks, or those there are."""
    found = np.empty((len(origins), horizon))
    for row, origin in enumerate(origins.tolist()):
        weeks = min(origin // WEEK, _MEAN_WEEKS)
        means = values[origin - weeks * WEEK : origin].reshape(weeks, WEEK).mean(axis=0)
        found[row] = means[np.arange(horizon) % WEEK]
    return found


def _fit_ets(values: np.ndarray) -> Parameters:
    """Damped trend with additive errors and season, or both multiplicative, by AIC (Hyndman et al. 2008)."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    fits = []
    for kind in ("add", "mul") if values.min() > 0 else ("add",):
        model = ETSModel(values, initialization_method="heuristic", **_ets_form(kind))
        fits.append((kind, model.fit(disp=0)))
    kind, best = min(fits, key=lambda fit: float(fit[1].aic) if np.isfinite(fit[1].aic) else np.inf)
    return {
        "form": kind,
        "smoothing": [float(p) for p in best.params],
        "level": float(best.initial_level),
        "trend": float(best.initial_trend),
        "season": [float(s) for s in best.initial_seasonal],
    }


def _ets_form(kind: str) -> dict[str, Any]:
    return {"error": kind, "trend": "add", "damped_trend": True, "seasonal": kind, "seasonal_periods": WEEK}


def _ets(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    kind = parameters["form"]
    # A season that multiplies has no day of nothing: one that comes later is taken for next to nothing.
    positive = np.maximum(values, _NEXT_TO_NOTHING) if kind == "mul" else values
    model = ETSModel(
        positive, initialization_method="known", initial_level=parameters["level"], initial_trend=parameters["trend"],
        initial_seasonal=parameters["season"], **_ets_form(kind),
    )  # fmt: skip
    states = np.asarray(model.smooth(np.array(parameters["smoothing"])).states)
    steps = np.arange(horizon)
    damped = np.cumsum(parameters["smoothing"][3] ** (steps + 1))
    level, trend = states[origins - 1, 0], states[origins - 1, 1]
    season = states[origins[:, None] - WEEK + steps[None, :] % WEEK, 2]
    smooth = level[:, None] + trend[:, None] * damped[None, :]
    return smooth * season if kind == "mul" else smooth + season


def fit_sarima(
    values: np.ndarray,
    order: tuple[int, int, int],
    seasonal: tuple[int, int, int, int],
    *,
    differenced_first: bool = True,
) -> Any:
    """A seasonal ARIMA by maximum likelihood (Box and Jenkins 1976; statsmodels' Kalman filter).

    Args:
        values: n values.
        order: p, d, q.
        seasonal: P, D, Q and the season's length.
        differenced_first: takes differences before filtering, which makes the state small and the fit fast; else
            differences are part of the state.

    Returns:
        statsmodels' results.
    """
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    with quiet():
        return SARIMAX(values, order=order, seasonal_order=seasonal, simple_differencing=differenced_first).fit(disp=0)


def _sarima_method(name: str, form: tuple[tuple[int, int, int], tuple[int, int, int, int]]) -> Method:
    order, seasonal = form

    def fit(values: np.ndarray) -> Parameters:
        # Values of millions and of single units alike: the optimiser's steps suit values about 1.
        scale = float(np.abs(values).mean()) or 1.0
        found = fit_sarima(values / scale, order, seasonal)
        return {"coefficients": [float(p) for p in found.params], "scale": scale}

    def paths(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
        scale = parameters["scale"]
        return scale * sarima_paths(values / scale, order, seasonal, parameters["coefficients"], origins, horizon)

    return Method(name, fit, paths)


def sarima_paths(
    values: np.ndarray,
    order: tuple[int, int, int],
    seasonal: tuple[int, int, int, int],
    coefficients: Sequence[float],
    origins: np.ndarray,
    horizon: int,
) -> np.ndarray:
    """Forecasts of a seasonal ARIMA with given coefficients from several origins, by one pass of the Kalman filter; K × H."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    model = SARIMAX(values, order=order, seasonal_order=seasonal)
    states = model.filter(np.array(coefficients)).predicted_state[:, origins]
    transition, design = model.ssm["transition"], model.ssm["design"][0]
    found = np.empty((len(origins), horizon))
    for step in range(horizon):
        found[:, step] = design @ states
        states = transition @ states
    return found


def _fit_theta(values: np.ndarray) -> Parameters:
    """The Theta method (Assimakopoulos and Nikolopoulos 2000) on seasonally adjusted values."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    model = ThetaModel(values, period=WEEK)
    found = model.fit()
    slope, smoothing = (float(p) for p in np.asarray(found.params)[:2])
    season = np.asarray(found._seasonal, dtype=float)
    additive = model.method.startswith("add")
    neutral = np.zeros(WEEK) if additive else np.ones(WEEK)
    return {
        "slope": slope,
        "smoothing": smoothing,
        "additive": additive,
        "season": (season if len(season) else neutral).tolist(),
    }


def _theta(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    from scipy.signal import lfilter

    season, alpha = np.array(parameters["season"]), parameters["smoothing"]
    at = season[np.arange(len(values) + horizon) % WEEK]
    adjusted = values - at[: len(values)] if parameters["additive"] else values / at[: len(values)]
    # Simple exponential smoothing from the first value on: level = (1 - alpha) level + alpha value.
    level = lfilter([alpha], [1, alpha - 1], adjusted, zi=[(1 - alpha) * adjusted[0]])[0][origins - 1]
    steps = np.arange(horizon)
    drift = np.full(len(origins), 1.0) if alpha <= 0 else (1 - (1 - alpha) ** origins) / alpha
    smooth = level[:, None] + 0.5 * parameters["slope"] * (steps[None, :] + drift[:, None])
    ahead = at[origins[:, None] + steps[None, :]]
    return smooth + ahead if parameters["additive"] else smooth * ahead


def _fit_tsb(values: np.ndarray) -> Parameters:
    """Teunter, Syntetos and Babai (2011): smoothed chance of any demand times smoothed size, for many zeros."""
    grid = [(a, b) for a in (0.02, 0.05, 0.1, 0.2) for b in (0.02, 0.05, 0.1, 0.2)]
    begin = max(len(values) // 2, 1)

    def loss(pair: tuple[float, float]) -> float:
        level = tsb_levels(values[None, :], *pair)[0]
        return float(((level[begin - 1 : -1] - values[begin:]) ** 2).mean())

    chance, size = min(grid, key=loss)
    return {"chance": chance, "size": size}


def tsb_levels(values: np.ndarray, chance: float, size: float) -> np.ndarray:
    """The TSB forecast after each period, for several series at once.

    Args:
        values: m × n; nan where demand is not known (nothing was in stock): the forecast stays.
        chance: smoothing of the chance that there is any demand, 0 to 1.
        size: smoothing of the size of demand, 0 to 1.

    Returns:
        m × n: the expected demand per period with what is known after it.
    """
    known = np.isfinite(values)
    sold = known & (values > 0)
    # Begins with what the first periods show, so that figures mean something from the fourth on.
    rate = sold[:, :4].sum(axis=1) / np.maximum(known[:, :4].sum(axis=1), 1)
    first = np.where(sold.any(axis=1), values[np.arange(len(values)), sold.argmax(axis=1)], 0.0)
    level, found = first.copy(), np.empty(values.shape)
    for t in range(values.shape[1]):
        now, yes = known[:, t], sold[:, t]
        rate = np.where(now, rate + chance * (yes - rate), rate)
        level = np.where(yes, level + size * (np.where(yes, values[:, t], 0.0) - level), level)
        found[:, t] = rate * level
    return found


def _tsb(parameters: Parameters, values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    level = tsb_levels(values[None, :], parameters["chance"], parameters["size"])[0]
    return np.repeat(level[origins - 1][:, None], horizon, axis=1)


#: All methods for daily series by name, the baseline first.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(BASELINE, _nothing, _seasonal_naive),
        Method("weekday_mean", _nothing, _weekday_mean),
        Method("ets", _fit_ets, _ets),
        Method("theta", _fit_theta, _theta),
        _sarima_method("arima_5_1_2", _ARIMA),
        _sarima_method("sarima", SARIMA),
        Method("tsb", _fit_tsb, _tsb),
    )
}
#: What is tried for the totals, for categories in a quick run, and for series with many days without anything.
FOR_TOTALS = (BASELINE, "weekday_mean", "ets", "theta", "arima_5_1_2", "sarima")
FOR_CATEGORIES = (BASELINE, "ets", "theta")
FOR_INTERMITTENT = (BASELINE, "weekday_mean", "tsb")
