"""Rolling origins: what each method would have forecast, which one is used for a series, and whether it earned that.

Three stretches in order: parameters are estimated on the first, methods are chosen on the windows of the second, the
chosen one is judged on the third, which neither estimation nor choice has seen. Within the latter two, parameters are
carried forward unchanged; only states follow the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ecommerce_platform.ml.forecasting import conformal, measures
from ecommerce_platform.ml.forecasting.methods import BASELINE, METHODS, Method, Parameters, forecasts, quiet
from ecommerce_platform.ml.forecasting.series import kind

#: Days ahead.
HORIZON = 28
#: Days between origins.
STEP = 7
#: Origins at most that are judged on, and that are chosen on; half a year and three quarters.
MOST_JUDGING, MOST_CHOOSING = 26, 39
#: The most of a history that is judged on, and the least that parameters are estimated on.
_JUDGED_SHARE, _TRAINED_SHARE = 0.3, 0.3
#: Days after which parameters are estimated anew in a full run.
REFIT = 84
#: Days at least before the first origin.
FEWEST_TRAINING = 56
#: Days of a series that are looked at; older ones say little about next month.
LONGEST = 1096
#: The share of values that published intervals shall hold.
COVERAGE = 0.9


@dataclass(frozen=True)
class Plan:
    """Where a history is cut; origins are numbers of known days, in order.

    Attributes:
        choosing: origins whose windows methods are chosen on.
        judging: origins whose windows the choice is judged on; all after the windows of `choosing`.
    """

    choosing: np.ndarray
    judging: np.ndarray

    @property
    def origins(self) -> np.ndarray:
        """All of them, in order."""
        return np.concatenate([self.choosing, self.judging])

    @property
    def first(self) -> int:
        """Days that parameters are estimated on."""
        return int(self.choosing[0])


def make_plan(days: int, *, judging: int = MOST_JUDGING, choosing: int = MOST_CHOOSING) -> Plan | None:
    """The origins in a history of some days, or None where it is too short for one of each kind (112 days).

    A quarter of the days at most is judged on, and parameters are estimated on two fifths at least, so that errors on
    which methods are chosen and from which intervals are made cover as many seasons as there are.

    Args:
        days: length of the history.
        judging: origins at most that are judged on.
        choosing: origins at most that are chosen on.
    """
    if days < FEWEST_TRAINING + 2 * HORIZON:
        return None
    late = min(judging, max(int(days * _JUDGED_SHARE) - HORIZON, 0) // STEP + 1)
    later = days - HORIZON - np.arange(late)[::-1] * STEP
    newest = int(later[0]) - HORIZON
    first = min(max(FEWEST_TRAINING, int(days * _TRAINED_SHARE)), newest)
    early = min(choosing, (newest - first) // STEP + 1)
    return Plan(newest - np.arange(early)[::-1] * STEP, later)


@dataclass(frozen=True)
class Tried:
    """What the methods did on one series.

    Attributes:
        plan: the origins.
        actual: K × H actual values behind each origin.
        found: forecasts by method, K × H.
        parameters: by method, as estimated before the first origin.
        failed: methods that could not be estimated, and why.
        scale: of `measures.naive_scale` before the first origin.
    """

    plan: Plan
    actual: np.ndarray
    found: dict[str, np.ndarray]
    parameters: dict[str, Parameters]
    failed: dict[str, str]
    scale: tuple[float, float]

    def losses(self, name: str, measure: str) -> np.ndarray:
        """The loss of a method at each origin: mean absolute (mase) or mean squared error (rmsse) of its window."""
        error = self.found[name] - self.actual
        return np.abs(error).mean(axis=1) if measure == "mase" else (error**2).mean(axis=1)


def windows(values: np.ndarray, origins: np.ndarray, horizon: int = HORIZON) -> np.ndarray:
    """The values behind each origin, K × H."""
    return values[origins[:, None] + np.arange(horizon)[None, :]]


def estimate(method: Method, values: np.ndarray) -> Parameters | str:
    """A method's parameters, or why it has none for these values."""
    try:
        with quiet():
            found = method.fit(values)
    except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError) as error:
        return f"{type(error).__name__}: {error}"
    return found


def compare(
    values: np.ndarray,
    plan: Plan,
    names: Sequence[str],
    *,
    refit: bool = False,
    methods: Mapping[str, Method] = METHODS,
) -> Tried:
    """Lets methods forecast from all origins of a plan.

    Args:
        values: n daily values.
        plan: of these n days.
        names: methods, the baseline among them.
        refit: parameters are estimated anew every twelve weeks (the full run), else once before the first origin.
        methods: by name.
    """
    found, parameters, failed = {}, {}, {}
    for name in names:
        method = methods[name]
        first = estimate(method, values[: plan.first])
        if isinstance(first, str):
            failed[name] = first
            continue
        if refit:
            path = _refitted(method, first, values, plan.origins)
        else:
            path = forecasts(method, first, values, plan.origins, HORIZON)
        if not np.isfinite(path).all():
            failed[name] = "its forecasts are not finite"
            continue
        found[name], parameters[name] = path, first
    actual = windows(values, plan.origins)
    return Tried(plan, actual, found, parameters, failed, measures.naive_scale(values[: plan.first]))


def _refitted(method: Method, first: Parameters, values: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Parameters of the first origin and of every twelfth week after it, each carried forward until the next."""
    latest, paths = first, []
    number = (origins - origins[0]) // REFIT
    for block in np.unique(number).tolist():
        mine = origins[number == block]
        if block:
            found = estimate(method, values[: int(mine[0])])
            latest = latest if isinstance(found, str) else found
        paths.append(forecasts(method, latest, values, mine, HORIZON))
    return np.concatenate(paths)


@dataclass(frozen=True)
class Verdict:
    """Which method a series gets.

    Attributes:
        kind: of `series.kind`.
        measure: mase, or rmsse for intermittent series (the median of which may be 0).
        chosen: the best method on the choosing windows.
        used: the chosen one if it beat the baseline on the judging windows, else the baseline.
        interval: of the relative difference of losses there, chosen minus baseline in shares of the baseline's mean;
            infinite where nothing could be judged.
        why: in a few words.
        losses: mean loss by method on the judging windows.
    """

    kind: str
    measure: str
    chosen: str
    used: str
    interval: tuple[float, float]
    why: str
    losses: dict[str, float] = field(default_factory=dict)


def judge(tried: Tried, kind_of_series: str, *, bar: str = BASELINE) -> Verdict:
    """Chooses on the earlier windows and judges on the later ones; see the module.

    Args:
        tried: of `compare`.
        kind_of_series: of `series.kind`.
        bar: the method that has to be beaten.
    """
    measure = "rmsse" if kind_of_series == "intermittent" else "mase"
    early = len(tried.plan.choosing)
    losses = {name: tried.losses(name, measure) for name in tried.found}
    chosen = _best(losses, early, bar)
    plain = _best({name: loss for name, loss in losses.items() if name in METHODS}, early, bar)
    if chosen != plain:
        # Regressors have to earn their place against the best method without them, on the days of choosing, too.
        gain = (losses[chosen] - losses[plain])[:early] / (losses[plain][:early].mean() or 1.0)
        chosen = chosen if measures.paired_interval(gain, HORIZON // STEP, level=0.8)[1] < 0 else plain
    late = {name: float(loss[early:].mean()) for name, loss in losses.items()}
    if chosen == bar:
        return Verdict(kind_of_series, measure, bar, bar, (0.0, 0.0), "no method was better on earlier days", late)
    usual = late[bar] or 1.0
    low, high = measures.paired_interval((losses[chosen] - losses[bar])[early:] / usual, HORIZON // STEP)
    won = high < 0
    why = "better on later days, too" if won else "better on earlier days only, or too little to tell"
    return Verdict(kind_of_series, measure, chosen, chosen if won else bar, (low, high), why, late)


def _best(losses: Mapping[str, np.ndarray], early: int, bar: str) -> str:
    """The method with the smallest mean loss at the first origins; of equals the one that has to be beaten."""
    return min(losses, key=lambda name: (losses[name][:early].mean(), name != bar))


def unjudged(values: np.ndarray) -> Verdict:
    """The verdict on a series that no backtest can judge: the baseline, and why."""
    why = {
        "empty": "nothing was ever sold",
        "short": f"fewer than {FEWEST_TRAINING + 2 * HORIZON} days",
        "flat": "the same value on all days",
        "dormant": "nothing in the last 13 weeks",
    }
    found = kind(values)
    return Verdict(found, "mase", BASELINE, BASELINE, (-np.inf, np.inf), why.get(found, "too few days to judge"))


def judged_coverage(tried: Tried, values: np.ndarray, name: str, coverage: float = COVERAGE) -> np.ndarray:
    """Whether each value of the judging windows lay in its interval, from errors whose windows had ended by then.

    Args:
        tried: of `compare`.
        values: the same n values.
        name: the method.
        coverage: what intervals shall hold.

    Returns:
        K × H: 1, 0, or nan where there was no interval.
    """
    low, high = judged_intervals(tried.found[name], tried.actual, values, tried.plan, coverage)
    early = len(tried.plan.choosing)
    actual = tried.actual[early:]
    tolerance = 1e-9 * np.maximum(actual, 1.0)
    inside = (actual >= low - tolerance) & (actual <= high + tolerance)
    return np.where(np.isfinite(low), inside, np.nan)


def judged_intervals(
    found: np.ndarray, actual: np.ndarray, values: np.ndarray, plan: Plan, coverage: float = COVERAGE
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of the judging windows, each from the errors of windows that had ended at its origin; K × H each."""
    scales = conformal.scale(found, conformal.levels(values, plan.origins))
    errors = conformal.scores(actual, found, scales)
    early, lows, highs = len(plan.choosing), [], []
    for row in range(early, len(plan.origins)):
        over = plan.origins + HORIZON <= plan.origins[row]
        ends = conformal.quantiles(errors[over], coverage)
        low, high = conformal.interval(found[row : row + 1], scales[row : row + 1], ends)
        lows.append(low[0])
        highs.append(high[0])
    return np.array(lows), np.array(highs)
