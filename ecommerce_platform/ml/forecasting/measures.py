"""How far off forecasts were: errors against actual values, in units, in shares and against the naive forecast."""

from __future__ import annotations

import numpy as np

WEEK = 7


def naive_scale(training: np.ndarray, season: int = WEEK) -> tuple[float, float]:
    """Mean absolute and root mean squared error of the seasonal naive forecast within the training data.

    What MASE and RMSSE divide by (Hyndman and Koehler 2006, Another look at measures of forecast accuracy; Makridakis
    et al. 2022, The M5 accuracy competition).

    Args:
        training: values before the first origin.
        season: 7 for days, 1 for weeks of a product.

    Returns:
        Both in the unit of the series; nan where there is no difference to take or all are 0.
    """
    differences = training[season:] - training[:-season]
    if not len(differences) or not differences.any():
        return float("nan"), float("nan")
    return float(np.abs(differences).mean()), float(np.sqrt((differences**2).mean()))


def accuracy(actual: np.ndarray, forecast: np.ndarray, scale: tuple[float, float]) -> dict[str, float]:
    """MASE, RMSSE, WAPE, RMSE and MAE over all given values.

    WAPE is the sum of absolute errors over the sum of absolute actual values (MAPE is infinite on days without sales).

    Args:
        actual: any shape.
        forecast: the same shape.
        scale: of `naive_scale`.

    Returns:
        By name; nan where what is divided by is 0 or not known.
    """
    error = forecast - actual
    mae, rmse = float(np.abs(error).mean()), float(np.sqrt((error**2).mean()))
    total = float(np.abs(actual).mean())
    return {
        "mase": mae / scale[0],
        "rmsse": rmse / scale[1],
        "wape": mae / total if total else float("nan"),
        "rmse": rmse,
        "mae": mae,
    }


def quantile_loss(actual: np.ndarray, forecast: np.ndarray, quantile: float) -> float:
    """The mean pinball loss of forecasts of a quantile (Koenker and Bassett 1978), in the unit of the values."""
    error = actual - forecast
    return float(np.maximum(quantile * error, (quantile - 1) * error).mean())


def coverage(actual: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """The share of values within their interval, its ends included; nan values are not counted."""
    known = np.isfinite(actual) & np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return float("nan")
    tolerance = 1e-9 * np.maximum(np.abs(actual[known]), 1.0)
    inside = (actual[known] >= low[known] - tolerance) & (actual[known] <= high[known] + tolerance)
    return float(inside.mean())


def paired_interval(differences: np.ndarray, overlap: int, level: float = 0.95) -> tuple[float, float]:
    """An interval for the mean of loss differences at successive origins, whose windows overlap.

    Diebold and Mariano (1995) with Bartlett weights (Newey and West 1987), the small-sample factor of Harvey, Leybourne
    and Newbold (1997) and quantiles of Student's t.

    Args:
        differences: loss of one method minus that of the other, one per origin, in order.
        overlap: origins whose windows a window reaches into, its own included: horizon / step.
        level: of the interval.

    Returns:
        Low and high; infinite with fewer than three origins, a point where nothing varies.
    """
    from scipy.stats import t as student

    n = len(differences)
    mean = float(differences.mean()) if n else 0.0
    if n < 3:
        return -np.inf, np.inf
    lags = min(overlap, n - 1)
    centred = differences - mean
    variance = float(centred @ centred) / n
    for lag in range(1, lags):
        variance += 2 * (1 - lag / lags) * float(centred[lag:] @ centred[:-lag]) / n
    small = max(n + 1 - 2 * lags + lags * (lags - 1) / n, 1.0) / n
    half = float(student.ppf(0.5 + level / 2, n - 1)) * np.sqrt(max(variance, 0.0) / n / small)
    return mean - half, mean + half
