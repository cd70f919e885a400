"""What a series looks like before anybody forecasts it: trend, weekly season, and whether it has a unit root.

Shown beside forecasts; nothing is chosen by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecommerce_platform.ml.forecasting.methods import quiet
from ecommerce_platform.ml.forecasting.series import WEEK


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` says; None where a series is too short or does not vary.

    Attributes:
        trend_per_day: slope of a straight line through the values (least squares), in their unit per day.
        trend_share_per_year: that slope times 365, in shares of the mean.
        trend_strength: 0 to 1, how much of what is not season is trend (STL; Wang, Smith and Hyndman 2006).
        season_strength: 0 to 1, how much of what is not trend is the weekly season.
        adf: statistic, p value and lags of `adf_test`.
        kpss: statistic and p value of `kpss_test`.
    """

    trend_per_day: float
    trend_share_per_year: float | None
    trend_strength: float | None
    season_strength: float | None
    adf: tuple[float, float, int] | None
    kpss: tuple[float, float] | None


def adf_test(values: np.ndarray) -> tuple[float, float, int]:
    """The augmented Dickey-Fuller test with a constant, lags by AIC; the null hypothesis is a unit root.

    Source: Dickey and Fuller (1979), p values of MacKinnon (1994); statsmodels.

    Args:
        values: n values that vary.

    Returns:
        Statistic, p value and number of lags.
    """
    from statsmodels.tsa.stattools import adfuller

    with quiet():
        found = adfuller(values, regression="c", autolag="AIC", result_object=True)
    return float(found.statistic), float(found.pvalue), int(found.lags)


def kpss_test(values: np.ndarray) -> tuple[float, float]:
    """The KPSS test for a level, lags chosen from the data; the null hypothesis is that there is no unit root.

    Source: Kwiatkowski et al. (1992), lags of Hobijn et al. (1998); statsmodels. P values are interpolated in a table
    from 0.01 to 0.1: those at its ends mean "at most" and "at least".

    Args:
        values: n values that vary.

    Returns:
        Statistic and p value.
    """
    from statsmodels.tsa.stattools import kpss

    with quiet():
        found = kpss(values, regression="c", nlags="auto", result_object=True)
    return float(found.statistic), float(found.pvalue)


def decompose(values: np.ndarray, period: int = WEEK) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trend, season and remainder by STL, robust against strange days (Cleveland et al. 1990); each n values.

    Args:
        values: at least two periods of values.
        period: length of the season.
    """
    from statsmodels.tsa.seasonal import STL

    with quiet():
        found = STL(values, period=period, robust=True).fit()
    return np.asarray(found.trend), np.asarray(found.seasonal), np.asarray(found.resid)


def diagnose(values: np.ndarray) -> Diagnosis:
    """Trend, seasonal strength and unit-root tests of a daily series."""
    n = len(values)
    varies = n >= 4 * WEEK and np.ptp(values) > 0
    slope = float(np.polyfit(np.arange(n), values, 1)[0]) if n >= 2 else 0.0
    mean = float(values.mean()) if n else 0.0
    if not varies:
        return Diagnosis(slope, slope * 365 / mean if mean else None, None, None, None, None)
    trend, season, rest = decompose(values)
    return Diagnosis(
        slope,
        slope * 365 / mean if mean else None,
        _strength(rest, trend),
        _strength(rest, season),
        adf_test(values),
        kpss_test(values),
    )


def _strength(rest: np.ndarray, part: np.ndarray) -> float | None:
    whole = float(np.var(rest + part))
    return max(0.0, 1 - float(np.var(rest)) / whole) if whole > 0 else None
