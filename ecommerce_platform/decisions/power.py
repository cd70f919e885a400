"""How many units an experiment needs, and which effect it would find: two means compared by Student's t."""

from __future__ import annotations

import math

import numpy as np

_MOST = 10**9


def power(effect: float, control: float, treated: float, alpha: float = 0.05) -> float:
    """Chance of finding a standardised effect (difference / standard deviation), two-sided, from the noncentral t.

    Args:
        effect: the standardised effect.
        control: units of the control, and
        treated: of the other arm; at least two each.
        alpha: level of the test.
    """
    from scipy.special import nctdtr, stdtrit

    freedom = control + treated - 2
    shift = abs(effect) * math.sqrt(control * treated / (control + treated))
    limit = float(stdtrit(freedom, 1 - alpha / 2))
    # Far out nctdtr loses its tail, where the power is 1 to all digits.
    if shift - limit > 8:
        return 1.0
    return 1 - float(nctdtr(freedom, shift, limit)) + float(np.nan_to_num(nctdtr(freedom, shift, -limit)))


def units_per_arm(effect: float, wanted: float = 0.8, alpha: float = 0.05, share: float = 0.5) -> tuple[int, int]:
    """The fewest units of control and treated arm with which an effect is found with the power wanted.

    Args:
        effect: standardised effect, not 0 (`ValueError`).
        wanted: power, above alpha and below 1.
        alpha: level of the test.
        share: share of the units that the treated arm gets.
    """
    if effect == 0:
        raise ValueError("no number of units finds an effect of 0")

    def sizes(total: int) -> tuple[int, int]:
        treated = max(math.ceil(total * share), 2)
        return max(total - treated, 2), treated

    low, high = 4, 8
    while power(effect, *sizes(high), alpha) < wanted and high < _MOST:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, *sizes(middle), alpha) >= wanted else (middle + 1, high)
    control, treated = sizes(low)
    # Of two equal arms none is larger by one.
    return (max(control, treated),) * 2 if share == 0.5 else (control, treated)


def detectable(control: float, treated: float, wanted: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest standardised effect that arms of these sizes find with the power wanted."""
    low, high = 0.0, 1.0
    while power(high, control, treated, alpha) < wanted:
        low, high = high, high * 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, control, treated, alpha) >= wanted else (middle, high)
    return high
