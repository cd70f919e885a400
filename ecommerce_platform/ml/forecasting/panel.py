"""A total and its parts forecast together: a backtest each, a method each, figures that add up, and their intervals.

What one series gets is decided in `backtest`; here all of a measure (revenue, units) are put side by side. The result is
plain numbers that can be kept as JSON and carried forward to any later day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecommerce_platform.ml.forecasting import backtest, conformal, measures
from ecommerce_platform.ml.forecasting.backtest import COVERAGE, HORIZON, Plan, Tried, Verdict
from ecommerce_platform.ml.forecasting.methods import (
    BASELINE,
    FOR_CATEGORIES,
    FOR_INTERMITTENT,
    FOR_TOTALS,
    METHODS,
    Method,
    forecasts,
)
from ecommerce_platform.ml.forecasting.reconciliation import mint, top_down
from ecommerce_platform.ml.forecasting.series import WEEK, Series, kind, listed

TOTAL = "total"
#: How parts and total are made to add up, as they are tried; the first wins ties.
RECONCILIATIONS = ("mint", "bottom_up", "top_down")
#: Origins of the judging windows that are shown: those whose windows do not overlap, the newest first.
_SHOWN = 3


@dataclass(frozen=True)
class Panel:
    """One measure of the shop and of its parts on the same days.

    Attributes:
        measure: what is counted, such as revenue.
        total: of the whole shop.
        parts: what it is the sum of; none where parts would not add up.
    """

    measure: str
    total: Series
    parts: tuple[Series, ...] = ()

    @property
    def members(self) -> tuple[Series, ...]:
        """The total, then the parts."""
        return (self.total, *self.parts)

    def values(self) -> np.ndarray:
        """All values, members × days."""
        return np.stack([member.values for member in self.members])


@dataclass(frozen=True)
class Member:
    """What became of one series: its verdict, the fit before the first origin, and where its methods begin.

    `begin` is a whole number of weeks: days before it, on which it was not listed yet, teach nothing.
    """

    series: Series
    verdict: Verdict
    tried: Tried | None
    begin: int


@dataclass(frozen=True)
class Backtested:
    """A backtest of a panel.

    Attributes:
        panel: the panel.
        plan: the origins; None where the history is too short for any.
        members: one per series.
        reconciliation: the best of `RECONCILIATIONS` on the choosing windows; `none` without parts.
        used: forecasts that would have been published, members × K × H, coherent.
        naive: those of the baseline, which are coherent by themselves.
        actual: what came, members × K × H.
    """

    panel: Panel
    plan: Plan | None
    members: tuple[Member, ...]
    reconciliation: str
    used: np.ndarray
    naive: np.ndarray
    actual: np.ndarray

    def judged(self, what: np.ndarray) -> np.ndarray:
        """The part of an array over origins that was judged on."""
        assert self.plan is not None
        return what[:, len(self.plan.choosing) :]


def backtest_panel(panel: Panel, *, full: bool = False, extra: Mapping[str, Method] | None = None) -> Backtested:
    """Backtests every series of a panel and reconciles what would have been published.

    Args:
        panel: the panel.
        full: all methods for parts, too, and parameters estimated anew every twelve weeks.
        extra: further methods for the total, by name (regressors, Prophet).
    """
    plan = backtest.make_plan(len(panel.total))
    if plan is None:
        members = tuple(Member(s, backtest.unjudged(s.values), None, 0) for s in panel.members)
        nothing = np.empty((len(members), 0, HORIZON))
        return Backtested(panel, None, members, "none", nothing, nothing, nothing)
    methods = {**METHODS, **(extra or {})}
    names = (*FOR_TOTALS, *(extra or {}))
    found = [_member(panel.total, plan, names, methods, full)]
    found += [_member(part, plan, FOR_TOTALS if full else FOR_CATEGORIES, methods, full) for part in panel.parts]
    naive = np.stack([_naive(member.series.values, plan.origins) for member in found])
    own = np.stack([m.tried.found[m.verdict.used] if m.tried else n for m, n in zip(found, naive, strict=True)])
    actual = np.stack([backtest.windows(member.series.values, plan.origins) for member in found])
    how = _choose_reconciliation(own, actual, len(plan.choosing)) if panel.parts else "none"
    used = reconcile(own, how, _mse(own, actual, len(plan.choosing)))
    return Backtested(panel, plan, tuple(found), how, used, naive, actual)


def _member(series: Series, plan: Plan, names: Sequence[str], methods: Mapping[str, Method], full: bool) -> Member:
    begin = listed(series.values) // WEEK * WEEK
    values = series.values[begin:]
    found = kind(values)
    if found not in ("ordinary", "intermittent") or plan.first - begin < backtest.FEWEST_TRAINING:
        verdict = backtest.unjudged(values)
        return Member(series, verdict, None, begin)
    tried = backtest.compare(
        values,
        Plan(plan.choosing - begin, plan.judging - begin),
        FOR_INTERMITTENT if found == "intermittent" else names,
        refit=full,
        methods=methods,
    )
    return Member(series, backtest.judge(tried, found), tried, begin)


def _naive(values: np.ndarray, origins: np.ndarray, horizon: int = HORIZON) -> np.ndarray:
    return forecasts(METHODS[BASELINE], {}, values, origins, horizon)


def _mse(found: np.ndarray, actual: np.ndarray, early: int) -> np.ndarray:
    """Mean squared error of each series on the choosing windows."""
    return ((found - actual)[:, :early] ** 2).mean(axis=(1, 2))


def reconcile(found: np.ndarray, how: str, mse: np.ndarray) -> np.ndarray:
    """Forecasts that add up: members × …, the total first.

    Args:
        found: each series' own forecasts.
        how: one of `RECONCILIATIONS`, or none.
        mse: mean squared errors of the series.
    """
    if how == "none":
        return found
    total, parts = found[0], found[1:]
    if how == "mint":
        parts = mint(total, parts, float(mse[0]), mse[1:])
    elif how == "top_down":
        parts = top_down(total, parts)
    return np.concatenate([parts.sum(axis=0, keepdims=True), parts])


def _choose_reconciliation(found: np.ndarray, actual: np.ndarray, early: int) -> str:
    """The way with the smallest relative error on the choosing windows, total and parts counting as much."""
    usual = np.maximum(np.abs(actual[:, :early]).mean(axis=(1, 2)), 1e-12)
    mse = _mse(found, actual, early)

    def loss(how: str) -> float:
        error = np.abs(reconcile(found, how, mse) - actual)[:, :early].mean(axis=(1, 2)) / usual
        return float(error[0] + np.average(error[1:], weights=usual[1:]))

    return min(RECONCILIATIONS, key=loss)


def pooled_losses(tested: Backtested, found: np.ndarray) -> np.ndarray:
    """Per judged origin, the mean over series of the mean absolute error in shares of the baseline's; K values."""
    base = np.abs(tested.judged(tested.naive) - tested.judged(tested.actual)).mean(axis=(1, 2))
    known = base > 0
    loss = np.abs(tested.judged(found) - tested.judged(tested.actual)).mean(axis=2)
    return (loss[known] / base[known, None]).mean(axis=0) if known.any() else np.zeros(loss.shape[1])


def intervals(tested: Backtested, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the judged windows from what was known at their origins; members × K × H each."""
    both = [interval_of(tested, found, number) for number in range(len(tested.members))]
    return np.stack([low for low, _ in both]), np.stack([high for _, high in both])


def interval_of(tested: Backtested, found: np.ndarray, member: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of one series, by its number; K × H each."""
    assert tested.plan is not None
    values = tested.members[member].series.values
    return backtest.judged_intervals(found[member], tested.actual[member], values, tested.plan, COVERAGE)


def accuracy(tested: Backtested, found: np.ndarray, member: int) -> dict[str, float]:
    """All measures of one series on the judged windows, with coverage and the quantile loss of both ends."""
    actual, path = tested.judged(tested.actual)[member], tested.judged(found)[member]
    assert tested.plan is not None
    scale = measures.naive_scale(tested.members[member].series.values[: tested.plan.first])
    low, high = interval_of(tested, found, member)
    known = np.isfinite(low)
    loss = [
        measures.quantile_loss(actual[known], end[known], q) for end, q in ((low, 0.05), (high, 0.95)) if known.any()
    ]
    return {
        **measures.accuracy(actual, path, scale),
        "quantile_loss": float(np.mean(loss)) if loss else float("nan"),
        "coverage_90": measures.coverage(actual, low, high),
    }


def coverage_interval(inside: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of coverage, blocks of origins whose windows overlap resampled together.

    Args:
        inside: K × anything; 1, 0 or nan, by origin.
        seed: of the resampling.
    """
    rows = inside.reshape(len(inside), -1)
    hits, counts = np.nansum(rows, axis=1), np.isfinite(rows).sum(axis=1)
    block = min(HORIZON // backtest.STEP, len(rows))
    starts = np.random.default_rng(seed).integers(0, len(rows), (1000, -(-len(rows) // block)))
    picked = ((starts[:, :, None] + np.arange(block)) % len(rows)).reshape(1000, -1)[:, : len(rows)]
    known = np.maximum(counts[picked].sum(axis=1), 1)
    low, high = np.quantile(hits[picked].sum(axis=1) / known, (0.025, 0.975))
    return float(low), float(high)


# -- what is kept and carried forward ----------------------------------------------------------------------------


def fit_panel(tested: Backtested, *, baseline: bool, extra: Mapping[str, Method] | None = None) -> dict[str, Any]:
    """Every series' method fitted on all days, with what its intervals and the reconciliation need, as plain JSON values.

    Args:
        tested: the backtest.
        baseline: the seasonal naive forecast for all, since the methods did not earn their place.
        extra: further methods, as in `backtest_panel`.
    """
    methods = {**METHODS, **(extra or {})}
    path = tested.naive if baseline else tested.used
    early = len(tested.plan.choosing) if tested.plan else 0
    own = np.stack(
        [m.tried.found[m.verdict.used] if m.tried else n for m, n in zip(tested.members, tested.naive, strict=True)]
    )
    mse = _mse(own, tested.actual, early).tolist() if tested.plan else [None] * len(tested.members)
    members = []
    for number, member in enumerate(tested.members):
        name = BASELINE if baseline else member.verdict.used
        parameters = _final_parameters(member, methods[name])
        low, high = _ends(tested, path[number], number)
        members.append(
            {
                "series": member.series.name,
                "kind": member.verdict.kind,
                "method": name,
                "why": member.verdict.why,
                "begin": member.begin,
                "parameters": parameters,
                "low": low,
                "high": high,
                "mse": mse[number],
            }
        )
    return {
        "measure": tested.panel.measure,
        "first": tested.panel.total.first.isoformat(),
        "left_out": tested.panel.total.left_out,
        "reconciliation": "none" if baseline else tested.reconciliation,
        "members": members,
    }


def _final_parameters(member: Member, method: Method) -> dict[str, Any]:
    """Those estimated on all days; what could be estimated before the first origin but cannot be now stays as it was."""
    found = backtest.estimate(method, member.series.values[member.begin :])
    if not isinstance(found, str):
        return dict(found)
    return dict(member.tried.parameters[method.name]) if member.tried else {}


def _ends(tested: Backtested, path: np.ndarray, number: int) -> tuple[list[float] | None, list[float] | None]:
    """Ends of the intervals from all errors of the backtest; None where there are too few."""
    if tested.plan is None:
        return None, None
    values = tested.members[number].series.values
    scales = conformal.scale(path, conformal.levels(values, tested.plan.origins))
    low, high = conformal.quantiles(conformal.scores(tested.actual[number], path, scales), COVERAGE)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None, None
    return low.tolist(), high.tolist()


def carry_forward(
    state: Mapping[str, Any], panel: Panel, extra: Mapping[str, Method] | None = None
) -> dict[str, np.ndarray]:
    """Forecasts of the days after a panel's last, by a kept fit whose states follow the panel's values.

    Args:
        state: of `fit_panel`.
        panel: begins on the day that the state says (or holds fewer days than a week: then forecasts are means).
        extra: further methods.

    Returns:
        `forecast`, `low` and `high`, members × H; intervals are nan where there are none.
    """
    methods = {**METHODS, **(extra or {})}
    kept = {member["series"]: member for member in state["members"]}
    found = np.stack([_path(kept.get(series.name), series, methods) for series in panel.members])
    mse = np.array([(kept.get(series.name) or {}).get("mse") or 0.0 for series in panel.members])
    how = state["reconciliation"]
    if not panel.parts:
        how = "none"
    elif how == "none":
        how = "bottom_up"
    path = reconcile(found, how, mse)
    low, high = np.full(path.shape, np.nan), np.full(path.shape, np.nan)
    for number, series in enumerate(panel.members):
        member = kept.get(series.name)
        if member and member["low"] and member["high"] and len(series):
            scales = conformal.scale(path[number][None], conformal.levels(series.values, np.array([len(series)])))
            ends = np.array(member["low"]), np.array(member["high"])
            one = conformal.interval(path[number][None], scales, ends)
            low[number], high[number] = one[0][0], one[1][0]
    return {"forecast": path, "low": low, "high": high}


def _path(member: Mapping[str, Any] | None, series: Series, methods: Mapping[str, Method]) -> np.ndarray:
    n = len(series)
    if n < WEEK:
        return np.full(HORIZON, float(series.values.mean()) if n else 0.0)
    if member is None or member["method"] == BASELINE or n - member["begin"] < WEEK:
        return _naive(series.values, np.array([n]))[0]
    values = series.values[member["begin"] :]
    found = forecasts(methods[member["method"]], member["parameters"], values, np.array([len(values)]), HORIZON)[0]
    return found if np.isfinite(found).all() else _naive(series.values, np.array([n]))[0]


def shown_backtests(tested: Backtested, *, baseline: bool) -> list[dict[str, Any]]:
    """The newest windows of the backtest that do not overlap, a row per series, origin and day, as plain JSON values."""
    if tested.plan is None:
        return []
    path = tested.naive if baseline else tested.used
    low, high = intervals(tested, path)
    early, count = len(tested.plan.choosing), len(tested.plan.judging)
    step = HORIZON // backtest.STEP
    rows = []
    for place in range(count - 1, max(count - 1 - step * _SHOWN, -1), -step):
        origin = int(tested.plan.judging[place])
        for number, member in enumerate(tested.members):
            rows.append(
                {
                    "series": member.series.name,
                    "method": BASELINE if baseline else member.verdict.used,
                    "first": member.series.day(origin).isoformat(),
                    "forecast": path[number, early + place].tolist(),
                    "actual": tested.actual[number, early + place].tolist(),
                    "low": plain(low[number, place]),
                    "high": plain(high[number, place]),
                }
            )
    return rows


def plain(values: np.ndarray) -> list[float | None]:
    """Values as JSON has them: None for those that are not known."""
    return [float(value) if np.isfinite(value) else None for value in values]
