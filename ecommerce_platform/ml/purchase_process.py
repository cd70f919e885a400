"""How often and for how much customers without a contract buy: BG/NBD and Gamma-Gamma, by maximum likelihood.

Likelihoods with analytic gradients, fits, profile-likelihood intervals and expectations, on arrays. Who is scored, from which
table, and whether this beats anything is in `lifetime_value.py`.

BG/NBD (Fader, Hardie and Lee 2005, Marketing Science 24, p. 275): while alive, a customer buys at a rate λ ~ Gamma(r, α); after
each repeat purchase the customer is gone with probability p ~ Beta(a, b). Hence nobody drops out before the second purchase:
the probability of being alive is 1 for everyone who bought once, however long ago. It is no churn score.

Gamma-Gamma (Fader and Hardie 2013, "The Gamma-Gamma Model of Monetary Value"): a customer's purchases are Gamma(p, ν) with
ν ~ Gamma(q, v), independent of how often the customer buys.

Both are fitted in the logarithms of their parameters, which are positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: From logarithms of parameters to the negative log-likelihood and its gradient.
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

#: Logarithms of parameters are kept within ± this: beyond it a parameter can't be told from 0 or infinity.
LOG_LIMIT = 12.0
#: Half the 90 % quantile of χ² with one degree of freedom: how far the log-likelihood may fall within a 90 % interval.
_FALL_90 = 2.705543454095404 / 2
_NODES = 32
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Fit:
    """Parameters at the maximum of the likelihood, with their 90 % profile-likelihood intervals.

    Attributes:
        values: by name.
        intervals: (low, high) by name; 0 or infinity where the data set no bound on that side; empty if not asked for.
        log_likelihood: at the maximum, without constants that no parameter changes.
        customers: how many it was fitted to.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    log_likelihood: float
    customers: int

    def as_json(self) -> dict[str, Any]:
        """As plain values; an open end of an interval is null."""
        ends = {
            name: [low, None if math.isinf(high) else high] for name, (low, high) in self.intervals.items()
        }  # fmt: skip
        return {
            "values": dict(self.values),
            "intervals_90": ends,
            "log_likelihood": self.log_likelihood,
            "customers": self.customers,
        }


@dataclass(frozen=True)
class BgNbd:
    """Repeat purchases of customers: r and α of the buying rates (α in the unit of time), a and b of the dropouts."""

    r: float
    alpha: float
    a: float
    b: float

    def probability_alive(self, repeats: np.ndarray, last: np.ndarray, age: np.ndarray) -> np.ndarray:
        """The probability that a customer has not dropped out yet; 1 for all without a repeat purchase.

        Formula: Fader, Hardie and Lee (2008), "Computing P(alive) Using the BG/NBD Model".

        Args:
            repeats: n numbers of purchases after the first.
            last: n times from the first to the last purchase.
            age: n times from the first purchase to now.
        """
        gone_odds = _gone_odds(self, repeats, last, age)
        return 1 / (1 + gone_odds)

    def expected_purchases(
        self, repeats: np.ndarray, last: np.ndarray, age: np.ndarray, ahead: float
    ) -> np.ndarray:  # fmt: skip
        """Purchases that are expected of each customer within the time `ahead` from now.

        Formula: the mean of (1 − exp(−λ p ahead)) / p over what is known of λ and p of a customer who is alive (the paper's
        equation 10), by Gauss-Jacobi quadrature over p. The closed form has a 2F1 that overflows for frequent customers,
        and no value at a = 1.

        Args:
            repeats, last, age: as for `probability_alive`; all 0 for a customer who buys for the first time now.
            ahead: a time of at least 0.
        """
        expected = np.empty(len(repeats))
        for number in np.unique(repeats):
            nodes, weights = _beta_nodes(self.a, self.b + number)
            places = np.flatnonzero(repeats == number)
            for start in range(0, len(places), _ROWS_AT_ONCE):
                part = places[start : start + _ROWS_AT_ONCE]
                ages, back = np.unique(age[part], return_inverse=True)
                total = np.zeros(len(ages))
                # Node by node, not as a product of matrices, whose rounding depends on threads.
                for node, weight in zip(nodes, weights, strict=True):
                    grown = np.log1p(node * ahead / (self.alpha + ages))
                    total += weight * -np.expm1(-(self.r + number) * grown) / node
                expected[part] = total[back]
        return expected * self.probability_alive(repeats, last, age)


@dataclass(frozen=True)
class GammaGamma:
    """What a purchase is worth: p and q (shapes) and v (in the unit of money)."""

    p: float
    q: float
    v: float

    def expected_value(self, purchases: np.ndarray, mean_value: np.ndarray) -> np.ndarray:
        """What a purchase of each customer is expected to be worth: own mean and everyone's, by how much is known.

        Formula: p (v + n z̄) / (p n + q − 1), equation 5 of the note.

        Args:
            purchases: n numbers of purchases that the mean is of; 0 gives the mean of all customers.
            mean_value: n positive amounts.

        Raises:
            InputError: the mean over all customers does not exist (q at most 1) and somebody has no purchase.
        """
        known = self.p * purchases + self.q - 1
        if len(known) and known.min() <= 0:
            raise InputError(
                f"amounts are too uneven for a mean over all customers (q = {self.q:.3g})",
                fix="score customers with a purchase only",
            )
        return self.p * (self.v + purchases * mean_value) / known


def fit_bg_nbd(
    repeats: np.ndarray, last: np.ndarray, age: np.ndarray, *, intervals: bool = True
) -> tuple[BgNbd, Fit]:  # fmt: skip
    """Fits BG/NBD.

    a and b are weakly identified where few customers come back (their ratio is not): their intervals show it.

    Args:
        repeats, last, age: as for `BgNbd.probability_alive`.
        intervals: whether the profile-likelihood intervals are worked out, which takes most of the time.

    Raises:
        InputError: times that can't be, or nobody who came back.
    """
    _check_times(repeats, last, age)
    if not repeats.any():
        raise InputError("nobody bought a second time", fix="wait for repeat purchases, or use the past average")
    objective = bg_nbd_objective(repeats, last, age)
    rate = float(repeats.sum() / max(age.sum(), 1e-9))
    best = _minimum(objective, np.log([1.0, 1 / rate, 1.0, 2.0]))
    fit = _fit(objective, best, ("r", "alpha", "a", "b"), len(repeats), intervals)
    return BgNbd(**fit.values), fit


def fit_gamma_gamma(
    purchases: np.ndarray, mean_value: np.ndarray, *, intervals: bool = True
) -> tuple[GammaGamma, Fit]:  # fmt: skip
    """Fits Gamma-Gamma.

    Args:
        purchases: n numbers of purchases, at least 1.
        mean_value: n mean amounts of these, positive.
        intervals: as for `fit_bg_nbd`.

    Raises:
        InputError: a number below 1, an amount that is not positive, or all amounts are the same.
    """
    if not len(purchases) or purchases.min() < 1 or not (mean_value > 0).all():
        raise InputError("every customer needs a purchase and a positive amount", fix="leave the others out")
    if np.ptp(mean_value) == 0:
        raise InputError("all purchases are worth the same", fix="use that amount")
    objective = gamma_gamma_objective(purchases, mean_value)
    best = _minimum(objective, np.log([2.0, 3.0, float(mean_value.mean())]))
    fit = _fit(objective, best, ("p", "q", "v"), len(purchases), intervals)
    return GammaGamma(**fit.values), fit


def bg_nbd_objective(repeats: np.ndarray, last: np.ndarray, age: np.ndarray) -> Objective:
    """The negative log-likelihood of BG/NBD (the paper's equation 6) and its gradient, in the logarithms of r, α, a, b.

    Customers with equal histories are counted, not repeated: most of a shop bought once, and days are few.
    """
    from scipy.special import gammaln, psi

    numbers, counts = np.unique(repeats, return_counts=True)
    came_back = repeats > 0
    ages, once = np.unique(age[~came_back], return_counts=True)
    histories, weights = np.unique(
        np.column_stack([repeats[came_back], last[came_back], age[came_back]]), axis=0, return_counts=True
    )
    x, t_x, t = histories.T

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        r, alpha, a, b = np.exp(logs)
        log_age, log_last = np.log(alpha + t), np.log(alpha + t_x)
        alive = -(r + x) * log_age
        gone = math.log(a) - np.log(b + x - 1) - (r + x) * log_last
        either = np.logaddexp(alive, gone)
        is_gone = np.exp(gone - either)
        is_alive = 1 - is_gone
        log_once = np.log(alpha + ages)
        value = (
            counts @ (gammaln(r + numbers) + gammaln(b + numbers) - gammaln(a + b + numbers))
            + counts.sum() * (r * logs[1] - gammaln(r) + gammaln(a + b) - gammaln(b))
            - r * (once @ log_once)
            + weights @ either
        )
        everyone = counts.sum()
        of_both = everyone * psi(a + b) - counts @ psi(a + b + numbers)
        gradient = np.array(
            [
                counts @ psi(r + numbers) + everyone * (logs[1] - psi(r)) - once @ log_once
                - weights @ (is_alive * log_age + is_gone * log_last),
                everyone * r / alpha - r * (once @ (1 / (alpha + ages)))
                - weights @ ((r + x) * (is_alive / (alpha + t) + is_gone / (alpha + t_x))),
                of_both + weights @ is_gone / a,
                of_both + counts @ psi(b + numbers) - everyone * psi(b) - weights @ (is_gone / (b + x - 1)),
            ]
        )  # fmt: skip
        return -float(value), -gradient * np.exp(logs)

    return objective


def gamma_gamma_objective(purchases: np.ndarray, mean_value: np.ndarray) -> Objective:
    """The negative log-likelihood of Gamma-Gamma (the note's equation 1a) and its gradient, in the logs of p, q, v."""
    from scipy.special import gammaln, psi

    numbers, place, counts = np.unique(purchases, return_inverse=True, return_counts=True)
    total = purchases * mean_value
    log_total = np.bincount(place, weights=np.log(total))
    constant = float(np.log(mean_value).sum())
    everyone = len(purchases)

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        p, q, v = np.exp(logs)
        log_both = np.bincount(place, weights=np.log(v + total))
        share = np.bincount(place, weights=1 / (v + total))
        shape = p * numbers
        value = (
            counts @ (gammaln(shape + q) - gammaln(shape))
            + everyone * (q * logs[2] - gammaln(q))
            + shape @ log_total
            - constant
            - (shape + q) @ log_both
        )
        of_shape = psi(shape + q)
        gradient = np.array(
            [
                numbers @ (counts * (of_shape - psi(shape)) + log_total - log_both),
                counts @ of_shape + everyone * (logs[2] - psi(q)) - log_both.sum(),
                everyone * q / v - (shape + q) @ share,
            ]
        )
        return -float(value), -gradient * np.exp(logs)

    return objective


def draw_bg_nbd(model: BgNbd, age: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeat purchases and the time of the last one of customers of the given ages, drawn from the model itself."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, len(age))
    leaves = rng.beta(model.a, model.b, len(age))
    repeats, last, clock = np.zeros(len(age)), np.zeros(len(age)), np.zeros(len(age))
    active = np.arange(len(age))
    while len(active):
        clock[active] += rng.exponential(1 / np.maximum(rate[active], 1e-300))
        active = active[clock[active] <= age[active]]
        repeats[active] += 1
        last[active] = clock[active]
        active = active[rng.random(len(active)) >= leaves[active]]
    return repeats, last


def draw_gamma_gamma(model: GammaGamma, purchases: np.ndarray, seed: int) -> np.ndarray:
    """Mean amounts of so many purchases of each customer, drawn from the model itself."""
    rng = np.random.default_rng(seed)
    scale = 1 / rng.gamma(model.q, 1 / model.v, len(purchases))
    return rng.gamma(model.p * purchases, scale / purchases)


def _check_times(repeats: np.ndarray, last: np.ndarray, age: np.ndarray) -> None:
    wrong = (repeats < 0) | (last < 0) | (last > age) | ((repeats == 0) & (last > 0))
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"customer {i + 1} has {repeats[i]:g} repeat purchases, the last after {last[i]:g} of {age[i]:g}",
            fix="the last purchase lies between the first and now; without repeat purchases it is the first",
        )


def _gone_odds(model: BgNbd, repeats: np.ndarray, last: np.ndarray, age: np.ndarray) -> np.ndarray:
    came_back = repeats > 0
    odds = np.zeros(len(repeats))
    x = repeats[came_back]
    stretched = (model.r + x) * (np.log(model.alpha + age[came_back]) - np.log(model.alpha + last[came_back]))
    odds[came_back] = np.exp(np.minimum(math.log(model.a) - np.log(model.b + x - 1) + stretched, 700))
    return odds


def _beta_nodes(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Points in (0, 1) and weights that sum to 1, for means over Beta(a, b).

    Method: Golub and Welsch (1969), from the three-term recurrence of the Jacobi polynomials.
    """
    from scipy.linalg import eigh_tridiagonal

    first, second = b - 1, a - 1  # exponents of (1 − x) and (1 + x) on (−1, 1)
    n = np.arange(_NODES, dtype=np.float64)
    both = 2 * n + first + second
    middle = np.empty(_NODES)
    middle[0] = (second - first) / (first + second + 2)
    middle[1:] = (second**2 - first**2) / (both[1:] * (both[1:] + 2))
    k, s = n[1:], both[1:]
    beside = 4 * k * (k + first) * (k + second) * (k + first + second)
    # For k = 1 the factor (k + first + second) stands above and below and may be 0.
    below = s**2 * (s + 1) * (s - 1)
    beside[0] = 4 * (1 + first) * (1 + second)
    below[0] = s[0] ** 2 * (s[0] + 1)
    points, vectors = eigh_tridiagonal(middle, np.sqrt(beside / below))
    weights = vectors[0] ** 2
    return np.maximum((points + 1) / 2, 1e-15), weights / weights.sum()


def _minimum(objective: Objective, start: np.ndarray, inverse: np.ndarray | None = None) -> np.ndarray:
    from scipy.optimize import minimize

    options: dict[str, Any] = {"gtol": 1e-4, "maxiter": 500}
    if inverse is not None:
        options["hess_inv0"] = inverse
    else:
        # The first step goes along the gradient, whose length grows with the number of customers.
        options["hess_inv0"] = np.eye(len(start)) / max(1.0, float(np.abs(objective(start)[1]).max()))
    return minimize(_kept_in(objective), start, jac=True, method="BFGS", options=options).x


def _kept_in(objective: Objective) -> Objective:
    """The objective with a wall at `LOG_LIMIT`, beyond which numbers would overflow."""

    def kept(logs: np.ndarray) -> tuple[float, np.ndarray]:
        inside = np.clip(logs, -LOG_LIMIT, LOG_LIMIT)
        value, gradient = objective(inside)
        beyond = logs - inside
        return value + 1e3 * float(beyond @ beyond), np.where(beyond == 0, gradient, 0) + 2e3 * beyond

    return kept


def _fit(objective: Objective, best: np.ndarray, names: Sequence[str], customers: int, intervals: bool) -> Fit:
    best = np.clip(best, -LOG_LIMIT, LOG_LIMIT)
    value = objective(best)[0]
    ends: dict[str, tuple[float, float]] = {}
    if intervals:
        curvature = _curvature(objective, best)
        for i, name in enumerate(names):
            low, high = (_profile_end(objective, best, value, curvature, i, side) for side in (-1, 1))
            ends[name] = (math.exp(low) if math.isfinite(low) else 0.0, math.exp(high))
    values = {name: float(v) for name, v in zip(names, np.exp(best), strict=True)}
    return Fit(values, ends, -value, customers)


def _curvature(objective: Objective, at: np.ndarray) -> np.ndarray:
    """The second derivatives, by differences of the gradient, made positive definite."""
    step = 1e-4
    rows = [(objective(at + step * unit)[1] - objective(at - step * unit)[1]) / (2 * step) for unit in np.eye(len(at))]
    symmetric = (np.array(rows) + np.array(rows).T) / 2
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.maximum(values, max(values[-1], 1e-6) * 1e-6)) @ vectors.T


def _profile_end(
    objective: Objective, best: np.ndarray, lowest: float, curvature: np.ndarray, i: int, side: int
) -> float:
    """Where, on one side, the likelihood at its best with parameter i held fixed has fallen to the 90 % limit.

    Newton's method on the signed root of the fall, which is nearly straight; its slope is the gradient in parameter i alone,
    as the others are at their best. Infinite where the limit is not reached within `LOG_LIMIT`.
    """
    others = np.delete(np.arange(len(best)), i)
    inverse = np.linalg.inv(curvature[np.ix_(others, others)])
    inverse = (inverse + inverse.T) / 2  # rounding makes it lopsided, which scipy refuses
    follow = -inverse @ curvature[others, i]
    target = math.sqrt(2 * _FALL_90)
    spread = math.sqrt(np.linalg.inv(curvature)[i, i])
    inner, outer = 0.0, math.inf  # distances with less and with more than the limit's fall
    guess, at = min(target * spread, 3.0), best[others]
    reached = 0.0
    for _ in range(40):
        held = best[i] + side * guess
        if abs(held) >= LOG_LIMIT:
            held, guess = side * LOG_LIMIT, abs(side * LOG_LIMIT - best[i])
        at = _minimum(_held(objective, i, held), at + follow * side * (guess - reached), inverse)
        reached = guess
        value, gradient = objective(_joined(at, i, held))
        fall = math.sqrt(max(2 * (value - lowest), 0.0))
        if abs(fall - target) < 1e-3:
            return held
        if fall < target:
            if abs(held) >= LOG_LIMIT:
                return side * math.inf
            inner = guess
        else:
            outer = guess
        slope = side * gradient[i] / fall if fall > 0 else 0.0
        guess = guess + (target - fall) / slope if slope > 0 else 2 * guess + 0.1
        if not inner < guess < outer:
            guess = (inner + outer) / 2 if math.isfinite(outer) else 2 * inner + 0.1
        guess = min(guess, 3 * max(inner, 0.3)) if math.isinf(outer) else guess
    return best[i] + side * outer


def _held(objective: Objective, i: int, value: float) -> Objective:
    def held(others: np.ndarray) -> tuple[float, np.ndarray]:
        result, gradient = objective(_joined(others, i, value))
        return result, np.delete(gradient, i)

    return held


def _joined(others: np.ndarray, i: int, value: float) -> np.ndarray:
    return np.insert(others, i, value)
