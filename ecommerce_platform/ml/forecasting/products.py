"""Weekly demand of single products, and what is needed of each over its lead time.

Hundreds of short series full of zeros are no case for a model each: all products share one gradient boosting, beside it
stand Croston's method in its two usual forms and the seasonal naive forecast. Weeks in which the shelf was empty are
not known rather than zero: they teach nothing and are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecommerce_platform.ml.forecasting.backtest import Plan
from ecommerce_platform.ml.forecasting.boosting import fit_counts, predict_counts
from ecommerce_platform.ml.forecasting.measures import paired_interval
from ecommerce_platform.ml.forecasting.methods import BASELINE, tsb_levels

#: Weeks ahead that products are forecast.
WEEKS = 4
#: Weeks at least before the first origin.
_FEWEST_TRAINING = 13
_YEAR = 52
#: A product sells seldom when there are this many weeks or more to a week with a sale (Syntetos, Boylan and Croston 2005).
SELDOM_FROM = 1.32
#: Weeks whose means the gradient boosting is told.
_SPANS = (1, 2, 4, 8, 13, 26)
#: Origins that the gradient boosting learns from, at most, and rows of them (a seeded sample).
_LEARNING_ORIGINS, _LEARNING_ROWS = 26, 30_000
_SMOOTHING = 0.1
#: Bounds of demand over the lead time within which products share what is known about how far off forecasts are.
_BINS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: Fewer errors in a bin than these are filled up with those of all products.
_FEWEST_ERRORS = 100
QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.99)
METHODS = (BASELINE, "croston_sba", "tsb", "gradient_boosting")


@dataclass(frozen=True)
class Demand:
    """Units per product and week.

    Attributes:
        products: m names.
        groups: m category numbers from 0.
        units: m × n; nan before a product was listed and where its shelf was empty.
    """

    products: tuple[str, ...]
    groups: np.ndarray
    units: np.ndarray

    def seldom(self, origin: int) -> np.ndarray:
        """Which products sell seldom, by what is known at an origin: intermittent demand; m booleans."""
        before = self.units[:, :origin]
        known, sold = np.isfinite(before).sum(axis=1), (before > 0).sum(axis=1)
        return known >= SELDOM_FROM * np.maximum(sold, 1)


def weekly_plan(weeks: int, origins: int = 13) -> Plan | None:
    """The origins in a history of some weeks, one a week, or None where it is too short (21 weeks)."""
    room = weeks - _FEWEST_TRAINING - 2 * WEEKS
    if room < 0:
        return None
    count = min(origins, room // 2 + 1)
    back = np.arange(count)[::-1]
    judging = weeks - WEEKS - back
    return Plan(judging[0] - WEEKS - back, judging)


def _means(units: np.ndarray, span: int) -> np.ndarray:
    """Mean of the known ones of the last `span` weeks before each origin 0 … n; m × (n + 1), nan where none is."""
    known = np.isfinite(units)
    total, count = (
        np.concatenate([np.zeros((len(units), 1)), np.cumsum(x, axis=1)], axis=1)
        for x in (np.where(known, units, 0), known)
    )
    begin = np.maximum(np.arange(units.shape[1] + 1) - span, 0)
    summed, number = total - total[:, begin], count - count[:, begin]
    return np.divide(summed, number, out=np.full(summed.shape, np.nan), where=number > 0)


def rates(name: str, demand: Demand, origins: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    """Units per week expected of each product from each origin on; m × K, none below 0.

    Args:
        name: one of `METHODS`.
        demand: of which the weeks before each origin are looked at.
        origins: K numbers of known weeks.
        parameters: of `estimate`.
    """
    units = demand.units
    if name == BASELINE:
        found = _naive(units, origins)
    elif name == "gradient_boosting":
        rows = np.concatenate([_features(demand, int(origin)) for origin in origins])
        found = predict_counts(parameters["boosting"], rows).reshape(len(origins), len(units)).T
    else:
        levels = croston(units, _SMOOTHING) if name == "croston_sba" else tsb_levels(units, _SMOOTHING, _SMOOTHING)
        found = levels[:, origins - 1]
    return np.maximum(np.nan_to_num(found), 0.0)


def _naive(units: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """The mean of the same four weeks a year ago, or of the last four where these are not known."""
    means = _means(units, WEEKS)
    year_ago = np.where(origins - _YEAR + WEEKS > 0, origins - _YEAR + WEEKS, 0)
    whole = (origins >= _YEAR)[None, :] & np.isfinite(units[:, np.maximum(origins - _YEAR, 0)])
    return np.where(whole & np.isfinite(means[:, year_ago]), means[:, year_ago], means[:, origins])


def croston(units: np.ndarray, smoothing: float) -> np.ndarray:
    """Croston (1972) with the correction of Syntetos and Boylan (2005): smoothed size over smoothed weeks between sales.

    Args:
        units: m × n; nan where demand is not known.
        smoothing: of both, 0 to 1.

    Returns:
        m × n: expected units per week with what is known after it; 0 before the first sale.
    """
    m, n = units.shape
    size, gap, since = np.zeros(m), np.ones(m), np.zeros(m)
    seen = np.zeros(m, dtype=bool)
    found = np.zeros((m, n))
    for t in range(n):
        known = np.isfinite(units[:, t])
        sold = known & (np.where(known, units[:, t], 0) > 0)
        since = since + known
        first = sold & ~seen
        now = np.where(sold, units[:, t], 0.0)
        size = np.where(first, now, np.where(sold, size + smoothing * (now - size), size))
        gap = np.where(first, since, np.where(sold, gap + smoothing * (since - gap), gap))
        since = np.where(sold, 0, since)
        seen |= sold
        found[:, t] = np.where(seen, (1 - smoothing / 2) * size / np.maximum(gap, 1), 0.0)
    return found


def _features(demand: Demand, origin: int) -> np.ndarray:
    """What the gradient boosting is told of each product at an origin, from the weeks before it; m × p."""
    before = demand.units[:, max(origin - _YEAR - WEEKS, 0) : origin]
    m, n = before.shape
    columns = [_means(before[:, max(n - span, 0) :], span)[:, -1] for span in _SPANS]
    recent = before[:, max(n - 13, 0) :]
    columns.append(_means(np.where(np.isfinite(recent), recent > 0, np.nan), 13)[:, -1])
    sold = np.where(np.isfinite(before), before, 0) > 0
    columns.append(np.where(sold.any(axis=1), np.argmax(sold[:, ::-1], axis=1), n))
    columns.append(np.isfinite(before).sum(axis=1))
    # The same four weeks of a year ago.
    a_year_ago = before[:, WEEKS : 2 * WEEKS]
    columns.append(_means(a_year_ago, WEEKS)[:, -1] if n >= _YEAR + WEEKS else np.full(m, np.nan))
    # How the category and the whole shop do: four weeks against thirteen, and against the same weeks a year ago.
    for group in (demand.groups, np.zeros(m, dtype=int)):
        columns.extend(_pace(before, group))
    return np.stack(columns, axis=1)


def _pace(before: np.ndarray, group: np.ndarray) -> list[np.ndarray]:
    n = before.shape[1]
    by_week = np.zeros((int(group.max()) + 1, n))
    np.add.at(by_week, group, np.nan_to_num(before))
    last, quarter = by_week[:, -WEEKS:].mean(axis=1), by_week[:, max(n - 13, 0) :].mean(axis=1)
    found = [np.divide(last, quarter, out=np.ones(len(last)), where=quarter > 0)]
    if n >= _YEAR + WEEKS:
        then, following = (
            by_week[:, -_YEAR - WEEKS : -_YEAR].mean(axis=1),
            by_week[:, -_YEAR : -_YEAR + WEEKS].mean(axis=1),
        )
        found.append(np.divide(following, then, out=np.ones(len(then)), where=then > 0))
    else:
        found.append(np.full(len(last), np.nan))
    return [ratio[group] for ratio in found]


def _following(units: np.ndarray, origin: int, weeks: int) -> np.ndarray:
    """Mean of the known weeks behind an origin; nan where fewer than half of them are known."""
    behind = units[:, origin : origin + weeks]
    known = np.isfinite(behind)
    mean = np.where(known, behind, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(2 * known.sum(axis=1) >= weeks, mean, np.nan)


def estimate(demand: Demand, until: int, seed: int, iterations: int = 60) -> dict[str, Any]:
    """Fits the pooled gradient boosting (Poisson loss) on windows that end by a week.

    Args:
        demand: of which nothing from week `until` on is looked at.
        until: number of known weeks.
        seed: of the sample of rows.
        iterations: trees.

    Returns:
        `boosting`, plain JSON values, or nothing where there is nothing to learn from.
    """
    last = until - WEEKS
    origins = np.arange(max(_FEWEST_TRAINING // 2, last - _LEARNING_ORIGINS + 1), last + 1)
    if len(origins) < 3:
        return {}
    rows = np.concatenate([_features(demand, int(origin)) for origin in origins])
    target = np.concatenate([_following(demand.units, int(origin), WEEKS) for origin in origins])
    usable = np.flatnonzero(np.isfinite(target))
    if len(usable) < _FEWEST_ERRORS or not target[usable].any():
        return {}
    if len(usable) > _LEARNING_ROWS:
        usable = np.sort(np.random.default_rng(seed).choice(usable, _LEARNING_ROWS, replace=False))
    return {"boosting": fit_counts(rows[usable], target[usable], iterations, seed)}


@dataclass(frozen=True)
class Judged:
    """Which method products get, those that sell seldom and the others; see `judge`.

    Attributes:
        plan: the origins, in weeks.
        used: method by class, `seldom` and `often`.
        chosen: the best on the earlier windows, by class.
        interval: of the relative difference of losses on the later windows, by class.
        losses: mean loss there, by class and method.
        rates: by method, m × K.
        actual: mean units per week behind each origin, m × K; nan where too little of it is known.
    """

    plan: Plan
    used: dict[str, str]
    chosen: dict[str, str]
    interval: dict[str, tuple[float, float]]
    losses: dict[str, dict[str, float]]
    rates: dict[str, np.ndarray]
    actual: np.ndarray


def judge(demand: Demand, plan: Plan, seed: int, methods: Sequence[str] = METHODS, *, iterations: int = 60) -> Judged:
    """Backtests all methods on all products, chooses per class on the earlier windows and judges on the later.

    The loss of an origin is the mean over products of the squared error of units in four weeks, over the product's mean
    units in four weeks before the first origin plus one: errors of counts grow with them.

    Args:
        demand: all products.
        plan: of `weekly_plan`.
        seed: of the gradient boosting.
        methods: to be tried.
        iterations: trees of the gradient boosting.
    """
    parameters = estimate(demand, plan.first, seed, iterations) if "gradient_boosting" in methods else {}
    tried = [name for name in methods if name != "gradient_boosting" or parameters]
    found = {name: rates(name, demand, plan.origins, parameters) for name in tried}
    actual = np.stack([_following(demand.units, int(origin), WEEKS) for origin in plan.origins], axis=1)
    usual = np.nan_to_num(_means(demand.units[:, : plan.first], _YEAR)[:, -1]) * WEEKS + 1
    seldom = demand.seldom(plan.first)
    early = len(plan.choosing)
    used, chosen, interval, losses = {}, {}, {}, {}
    for name, members in (("seldom", seldom), ("often", ~seldom)):
        by_method = {
            method: _mean((WEEKS * (rate - actual)[members]) ** 2 / usual[members, None])
            for method, rate in found.items()
        }
        best = min(by_method, key=lambda method: (np.nan_to_num(by_method[method][:early].mean()), method != BASELINE))
        late = {method: float(loss[early:].mean()) for method, loss in by_method.items()}
        low, high = paired_interval((by_method[best] - by_method[BASELINE])[early:] / (late[BASELINE] or 1.0), WEEKS)
        chosen[name], interval[name], losses[name] = best, (low, high), late
        used[name] = best if best != BASELINE and high < 0 else BASELINE
    return Judged(plan, used, chosen, interval, losses, found, actual)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the known ones per column, 0 where there are none."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def used_rates(judged: Judged, demand: Demand) -> np.ndarray:
    """The rates of the method each product gets, m × K."""
    seldom = demand.seldom(judged.plan.first)
    return np.where(seldom[:, None], judged.rates[judged.used["seldom"]], judged.rates[judged.used["often"]])


def quantile_tables(
    demand: Demand, origins: np.ndarray, expected: np.ndarray, weeks: int, quantiles: Sequence[float] = QUANTILES
) -> np.ndarray:
    """How far demand over some weeks was from what was expected, by how much was expected.

    Args:
        demand: all products.
        origins: K origins whose windows have ended.
        expected: m × K units per week.
        weeks: of the lead time.
        quantiles: q of them.

    Returns:
        (bins + 1) × q: quantiles of (demand - expected) / sqrt(expected + 0.5) out of sample; windows with an empty
        shelf are left out. nan where nothing is known.
    """
    over = origins + weeks <= demand.units.shape[1]
    table = np.full((len(_BINS) + 1, len(quantiles)), np.nan)
    if not over.any():
        return table
    summed = np.stack([demand.units[:, o : o + weeks].sum(axis=1) for o in origins[over].tolist()], axis=1)
    mean = expected[:, over] * weeks
    score = (summed - mean) / np.sqrt(mean + 0.5)
    known = np.isfinite(score)
    if not known.any():
        return table
    bins = np.searchsorted(_BINS, mean)
    everything = np.quantile(score[known], quantiles, method="higher")
    for number in range(len(table)):
        inside = score[known & (bins == number)]
        enough = len(inside) >= _FEWEST_ERRORS
        table[number] = np.quantile(inside, quantiles, method="higher") if enough else everything
    return table


def demand_quantiles(expected: np.ndarray, weeks: int, table: np.ndarray) -> np.ndarray:
    """Units that suffice over the lead time with the chances of the table's columns: m rates to m × q whole units."""
    mean = expected * weeks
    ends = table[np.searchsorted(_BINS, mean)]
    return np.ceil(np.maximum(mean[:, None] + ends * np.sqrt(mean + 0.5)[:, None], 0.0) - 1e-9)
