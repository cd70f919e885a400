"""Estimates of how much two arms of an experiment differ, and how sure that is: numbers in, numbers out.

Which units belong to an arm and which metric is asked for is decided in `experiments.py`; sizes of experiments are in `power.py`.
Arrays have one value per unit. `scipy.special` has the distributions needed here and imports in a tenth of `scipy.stats`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Units below which a mean's normal approximation is not to be trusted: this times skewness² (Kohavi, Deng, Longbotham and Xu
#: 2014, "Seven rules of thumb for web site experimenters").
SKEWNESS_RULE = 355
#: Values drawn at a time by the bootstrap, so that memory does not follow the number of draws.
_DRAWN_AT_ONCE = 4_000_000
#: Quantiles of draws as ranks among one more of them (rank p (n + 1)): others make intervals of few draws too narrow.
_BY_RANK: Final = "weibull"


@dataclass(frozen=True)
class Estimate:
    """A difference (treated − control) with its interval at 1 − alpha, the same as a share of control, and a p-value.

    The lift and its bounds are NaN where the control's mean is 0.
    """

    method: str
    control: float
    treated: float
    difference: float
    low: float
    high: float
    lift: float
    lift_low: float
    lift_high: float
    p_value: float
    #: Standard error of the difference.
    error: float


def sample_ratio_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of Pearson's chi-square of units per arm against the planned shares; NaN without units.

    Args:
        counts: units per arm.
        shares: planned share of each arm, above 0; they are scaled to sum to 1.
    """
    from scipy.special import chdtrc

    observed, expected = np.asarray(counts, float), np.asarray(shares, float)
    if observed.sum() == 0 or len(observed) < 2:
        return float("nan")
    expected = expected / expected.sum() * observed.sum()
    return float(chdtrc(len(observed) - 1, ((observed - expected) ** 2 / expected).sum()))


def welch(control: Floats, treated: Floats, alpha: float = 0.05) -> Estimate:
    """Welch's comparison of two means with unequal variances; the lift's interval by the delta method.

    Both arms need two units (`ValueError` else). Degrees of freedom after Satterthwaite (1946).
    """
    if min(len(control), len(treated)) < 2:
        raise ValueError("an arm with fewer than two units has no variance")
    parts = [(float(a.mean()), float(a.var(ddof=1)) / len(a), len(a)) for a in (control, treated)]
    (m0, v0, n0), (m1, v1, n1) = parts
    total = v0 + v1
    freedom = total**2 / (v0**2 / (n0 - 1) + v1**2 / (n1 - 1)) if total > 0 else n0 + n1 - 2
    return _interval("welch", m0, m1, v0, v1, freedom, alpha)


def ratio_of_sums(
    control: Floats, treated: Floats, control_by: Floats, treated_by: Floats, alpha: float = 0.05
) -> Estimate:
    """Compares ratios of sums (revenue per order, say) whose units are persons: variances by the delta method.

    Args:
        control: numerator per unit of the control, and
        treated: of the treated arm.
        control_by: denominators per unit, and
        treated_by: of the treated arm; each sums to more than 0 (`ValueError` else).
        alpha: one minus the interval's level.
    """
    parts = []
    for top, bottom in ((control, control_by), (treated, treated_by)):
        if bottom.sum() <= 0 or len(top) < 2:
            raise ValueError("a ratio needs a denominator above 0 and two units")
        ratio, size = float(top.sum() / bottom.sum()), len(top)
        parts.append((ratio, float((top - ratio * bottom).var(ddof=1)) / size / float(bottom.mean()) ** 2))
    (m0, v0), (m1, v1) = parts
    return _interval("delta", m0, m1, v0, v1, len(control) + len(treated) - 2, alpha)


def _interval(method: str, m0: float, m1: float, v0: float, v1: float, freedom: float, alpha: float) -> Estimate:
    from scipy.special import stdtr, stdtrit

    error, quantile = float(np.sqrt(v0 + v1)), float(stdtrit(freedom, 1 - alpha / 2))
    difference = m1 - m0
    if error > 0:
        p_value = 2 * float(stdtr(freedom, -abs(difference) / error))
    else:
        p_value = 1.0 if difference == 0 else 0.0
    lift, spread = _lift(m0, m1, v0, v1)
    return Estimate(
        method, m0, m1, difference, difference - quantile * error, difference + quantile * error,
        lift, lift - quantile * spread, lift + quantile * spread, p_value, error,
    )  # fmt: skip


def _lift(m0: float, m1: float, v0: float, v1: float) -> tuple[float, float]:
    """m1 / m0 − 1 and its standard error: the gradient is (1 / m0, −m1 / m0²)."""
    if m0 == 0:
        return float("nan"), float("nan")
    return m1 / m0 - 1, float(np.sqrt(v1 / m0**2 + v0 * m1**2 / m0**4))


def bootstrap_t(control: Floats, treated: Floats, alpha: float = 0.05, draws: int = 999, seed: int = 1) -> Estimate:
    """Two means compared by the studentised bootstrap (Efron and Tibshirani 1993, ch. 12.5), for skewed money.

    Each arm is drawn from with replacement; the quantiles of (d* − d) / se* replace those of Student's t. The lift's interval is
    that of log(m1 / m0), found the same way (both means must be above 0).
    """
    plain = welch(control, treated, alpha)
    if plain.error == 0:
        return replace(plain, method="bootstrap_t")
    random = np.random.default_rng(seed)
    (m0, v0), (m1, v1) = (_redrawn(arm, draws, random) for arm in (control, treated))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = ((m1 - m0) - plain.difference) / np.sqrt(v0 + v1)
    t = np.where(np.isfinite(t), t, 0.0)
    upper, lower = np.quantile(t, [1 - alpha / 2, alpha / 2], method=_BY_RANK)
    observed = plain.difference / plain.error
    # H0 moves the centre: how often chance is as far out as what was seen, on the side where it was seen, twice.
    beyond = min((t >= observed).sum(), (t <= observed).sum())
    p_value = min(2 * (1 + float(beyond)) / (draws + 1), 1.0)
    lift_low, lift_high = _lift_bounds(control, treated, (m0, m1), (v0, v1), alpha)
    return replace(
        plain, method="bootstrap_t", p_value=p_value, lift_low=lift_low, lift_high=lift_high,
        low=plain.difference - float(upper) * plain.error, high=plain.difference - float(lower) * plain.error,
    )  # fmt: skip


def _lift_bounds(
    control: Floats, treated: Floats, means: tuple[Floats, Floats], variances: tuple[Floats, Floats], alpha: float
) -> tuple[float, float]:
    here = [(float(a.mean()), float(a.var(ddof=1)) / len(a)) for a in (control, treated)]
    if min(here[0][0], here[1][0], means[0].min(), means[1].min()) <= 0:
        return float("nan"), float("nan")
    log, error = float(np.log(here[1][0] / here[0][0])), float(np.sqrt(sum(v / m**2 for m, v in here)))
    drawn = np.log(means[1] / means[0])
    spread = np.sqrt(variances[0] / means[0] ** 2 + variances[1] / means[1] ** 2)
    usable = spread > 0
    upper, lower = np.quantile((drawn - log)[usable] / spread[usable], [1 - alpha / 2, alpha / 2], method=_BY_RANK)
    return float(np.expm1(log - upper * error)), float(np.expm1(log - lower * error))


def _redrawn(values: Floats, draws: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Mean, and variance of the mean, of each of `draws` samples of the same size, drawn with replacement."""
    size = len(values)
    means, squares = np.empty(draws), np.empty(draws)
    step = max(_DRAWN_AT_ONCE // size, 1)
    for begin in range(0, draws, step):
        rows = min(step, draws - begin)
        drawn = values[random.integers(0, size, (rows, size), dtype=np.int32)]
        means[begin : begin + rows] = drawn.mean(axis=1)
        squares[begin : begin + rows] = np.einsum("ij,ij->i", drawn, drawn) / size
    return means, np.maximum(squares - means**2, 0) / (size - 1)


def cuped(
    control: Floats, treated: Floats, control_before: Floats, treated_before: Floats
) -> tuple[Floats, Floats, float]:
    """Outcomes without what the covariate from before the experiment foretells (Deng, Xu, Kohavi and Walker 2013).

    Returns:
        The adjusted outcomes of both arms, whose means keep their expectation, and the share of variance taken away.
    """
    arms = ((control, control_before), (treated, treated_before))
    products = sum(float(((x - x.mean()) * (y - y.mean())).sum()) for y, x in arms)
    squares = sum(float(((x - x.mean()) ** 2).sum()) for _, x in arms)
    outcome = sum(float(((y - y.mean()) ** 2).sum()) for y, _ in arms)
    if squares == 0 or outcome == 0:
        return control, treated, 0.0
    theta = products / squares
    centre = float(np.concatenate([control_before, treated_before]).mean())
    adjusted = [y - theta * (x - centre) for y, x in arms]
    return adjusted[0], adjusted[1], products**2 / squares / outcome


def always_valid(estimate: Estimate, expected: float, alpha: float = 0.05) -> Estimate:
    """The same difference with a confidence sequence: its interval holds at all looks together, however many there are.

    The normal mixture of Robbins (1970), as in Johari, Koomen, Pekelis and Walsh (2022), "Always valid inference", with the sample
    variance for the true one. The mixture's standard deviation must not depend on the data looked at.

    Args:
        estimate: by `welch` or `ratio_of_sums`.
        expected: the effect that was planned for, in the metric's unit, above 0: near it the sequence is tightest.
        alpha: one minus the level.
    """
    if expected <= 0:
        raise ValueError("an expected effect is above 0")
    variance = estimate.error**2
    if variance == 0:
        return replace(estimate, method="confidence_sequence")
    information = 1 + expected**2 / variance
    bound = float(np.sqrt(variance * (variance + expected**2) / expected**2 * np.log(information / alpha**2)))
    z = estimate.difference**2 / variance
    evidence = np.exp(min(z / 2 * (1 - 1 / information), 700)) / np.sqrt(information)
    scale = bound / abs(estimate.control) if estimate.control else float("nan")
    return replace(
        estimate, method="confidence_sequence", low=estimate.difference - bound, high=estimate.difference + bound,
        lift_low=estimate.lift - scale, lift_high=estimate.lift + scale, p_value=float(min(1.0, 1 / evidence)),
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm (1979): the chance of any false one stays below the level."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min((len(p_values) - rank) * p_values[index], 1.0))
        adjusted[index] = highest
    return adjusted


def skewness(values: Floats) -> float:
    """Fisher's moment coefficient; 0 where all are equal."""
    spread = float(values.std()) if len(values) else 0.0
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def difference_in_differences(cells: Mapping[str, Any], first_after: Any) -> dict[str, float]:
    """What changed in the treated group beyond what changed in the control, with two checks of the assumption behind it.

    Args:
        cells: `unit`, `treated` (bool), `period` (sortable) and `value`: one entry per unit and period, none missing.
        first_after: first period after the change; two periods at least lie before it and one does not.

    Returns:
        effect, low, high (95 %, Welch over the units' own changes, so that what a unit's periods share counts once), p_value;
        trend_p_value (do the groups' slopes before the change differ?) and placebo_p_value (smallest, after Holm, over
        invented dates before it). Both small: the groups would have parted anyway.

    Raises:
        ValueError: too few units or periods.
    """
    unit, period = np.asarray(cells["unit"]), np.asarray(cells["period"])
    units, row = np.unique(unit, return_inverse=True)
    periods, column = np.unique(period, return_inverse=True)
    table = np.full((len(units), len(periods)), np.nan)
    table[row, column] = np.asarray(cells["value"], float)
    treated = np.zeros(len(units), bool)
    treated[row] = np.asarray(cells["treated"], bool)
    before = int((periods < first_after).sum())
    if before < 2 or before == len(periods) or min(treated.sum(), (~treated).sum()) < 2 or np.isnan(table).any():
        raise ValueError("needs two units in each group, two periods before the change, one after, and no gaps")
    after = table[:, before:].mean(axis=1) - table[:, :before].mean(axis=1)
    effect = welch(after[~treated], after[treated])
    centred = np.arange(before) - (before - 1) / 2
    slopes = table[:, :before] @ centred / (centred**2).sum()
    placebos = [table[:, n:before].mean(axis=1) - table[:, :n].mean(axis=1) for n in range(1, before)]
    tried = holm([welch(change[~treated], change[treated]).p_value for change in placebos])
    return {
        "effect": effect.difference, "low": effect.low, "high": effect.high, "p_value": effect.p_value,
        "trend_p_value": welch(slopes[~treated], slopes[treated]).p_value, "placebo_p_value": min(tried),
    }  # fmt: skip
