"""Intervals from out-of-sample errors: how far off forecasts of the same method were at earlier origins, per horizon.

Split conformal prediction (Vovk et al. 2005; for forecasts Stankeviciute et al. 2021): no formula of a model, no normal
distribution. Errors count in units of the level at their origin, so that a shop that has doubled has intervals twice as
wide; each side has its own quantile, since sales miss upwards further than downwards.
"""

from __future__ import annotations

import math

import numpy as np

#: Days ahead on both sides whose errors count for a horizon as well.
_NEIGHBOURS = 3
#: Fewer errors than these give no interval.
FEWEST_ERRORS = 20
#: Days before an origin whose mean is its level.
_LEVEL_DAYS = 28


def levels(values: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """The mean of the 28 days before each origin (of those there are), per origin."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    begin = np.maximum(origins - _LEVEL_DAYS, 0)
    return (total[origins] - total[begin]) / np.maximum(origins - begin, 1)


def scale(forecast: np.ndarray, level: np.ndarray) -> np.ndarray:
    """What errors are divided by: halfway between the forecast and the level at its origin; K × H.

    A forecast of 0 for a closed day has scale 0: nothing is expected and nothing happens.
    """
    return np.where(forecast > 0, 0.5 * (forecast + level[:, None]), 0.0)


def scores(actual: np.ndarray, forecast: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Errors in units of their scale; nan where there is no scale or no actual value. All K × H."""
    known = (scales > 0) & np.isfinite(actual)
    return np.divide(actual - forecast, scales, out=np.full(forecast.shape, np.nan), where=known)


def quantiles(errors: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the interval in units of the scale, per horizon.

    Args:
        errors: K × H of `scores`, from origins whose windows have ended by now.
        coverage: share of values that shall lie within, such as 0.9.

    Returns:
        Two arrays of H; nan where fewer than 20 errors are known. Ends are those order statistics that a new error of
        the same kind lies within with at least the chance asked for; with too few errors for that, the extremes.
    """
    horizon = errors.shape[1]
    low, high = np.full(horizon, np.nan), np.full(horizon, np.nan)
    tail = (1 - coverage) / 2
    for step in range(horizon):
        near = errors[:, max(step - _NEIGHBOURS, 0) : step + _NEIGHBOURS + 1]
        known = np.sort(near[np.isfinite(near)])
        n = len(known)
        if n < FEWEST_ERRORS:
            continue
        rank = min(math.ceil((n + 1) * (1 - tail)), n)
        low[step], high[step] = known[n - rank], known[rank - 1]
    return low, high


def interval(
    forecast: np.ndarray, scales: np.ndarray, ends: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high around forecasts, not below 0; K × H, nan where `ends` are."""
    low, high = forecast + scales * ends[0][None, :], forecast + scales * ends[1][None, :]
    return np.maximum(low, 0.0), np.maximum(high, 0.0)
