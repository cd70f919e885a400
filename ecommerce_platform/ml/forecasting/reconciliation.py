"""Forecasts of parts and of their total that add up (Wickramasuriya, Athanasopoulos and Hyndman 2019, MinTrace).

With one total over its parts and a diagonal error matrix the projection is one line: the gap between the total's
forecast and the sum of the parts' is spread over all of them in proportion to how uncertain each is.
"""

from __future__ import annotations

import numpy as np


def mint(total: np.ndarray, parts: np.ndarray, total_variance: float, variances: np.ndarray) -> np.ndarray:
    """The parts, moved so that they add up to a total between its own forecast and their sum (MinTrace, WLS).

    Args:
        total: forecasts of the total, any shape S.
        parts: forecasts of the m parts, m × S, none below 0.
        total_variance: mean squared error of the total's forecasts, out of sample.
        variances: of each part's.

    Returns:
        m × S, none below 0; the coherent total is their sum. Without any known error the parts stay as they are.
    """
    gap = total - parts.sum(axis=0)
    uncertain = np.maximum(variances, 0.0)
    whole = total_variance + uncertain.sum()
    if not np.isfinite(whole) or whole <= 0:
        return parts
    weights = (uncertain / whole).reshape(-1, *([1] * total.ndim))
    # A part below 0 is no forecast: what it cannot give the total gives up.
    return np.maximum(parts + weights * gap, 0.0)


def bottom_up(parts: np.ndarray) -> np.ndarray:
    """The total as the sum of its parts' forecasts: m × S to S."""
    return parts.sum(axis=0)


def top_down(total: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The total's forecast split as the parts' forecasts are: S and m × S to m × S; equal parts where these are 0."""
    whole = parts.sum(axis=0)
    share = np.divide(parts, whole, out=np.full(parts.shape, 1 / max(len(parts), 1)), where=whole > 0)
    return share * total
