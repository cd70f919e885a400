"""Who is offered what within a budget, and what such a policy would have brought in an experiment that drew its arms by lot.

Numbers in, numbers out; arm 0 is always the control, "no offer". Which experiment and which costs is decided in `retention.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.decisions.effects import FOLDS, SEED, Learners, Ridge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Arms = NDArray[np.int64]

#: Quantile of the normal distribution for intervals at 90 %.
_Z90 = 1.6449


@dataclass(frozen=True)
class Terms:
    """What an order brings, and what each arm costs: per person, and per person who then orders (currency; 0 for arm 0)."""

    margin: float
    contact: Floats
    voucher: Floats

    def reward(self, arm: Arms, orders: Floats) -> Floats:
        """Profit less the offer's cost of each person in its arm."""
        return orders * self.margin - self.contact[arm] - self.voucher[arm] * (orders > 0)


@dataclass(frozen=True)
class PolicyValue:
    """What a policy gains per person over offering nothing to anybody; `low` and `high` at 90 %, of the doubly robust figure."""

    share_offered: float
    ips: float
    doubly_robust: float
    low: float
    high: float
    #: Persons that the comparison of the offered with the control rests on.
    effective_size: float


def allot(worth: Floats, cost: Floats, budget: float) -> tuple[Arms, float]:
    """The arm of each person that brings most within a budget, and the shadow price: what one more unit of money would bring.

    Lagrangian relaxation of the multiple-choice knapsack (Sinha and Zoltners 1979): everybody gets the arm with the highest worth
    less price × cost, at the lowest price at which the budget holds; what is left of it is less than one more offer.

    Args:
        worth: expected profit less cost; persons × arms, 0 in the first column.
        cost: expected cost, the same shape, 0 in the first column.
        budget: most that all may cost together.
    """
    low, high = 0.0, 1.0

    def spent(price: float) -> float:
        return float(np.take_along_axis(cost, choose(worth, cost, price)[:, None], axis=1).sum())

    if spent(0.0) <= budget:
        return choose(worth, cost, 0.0), 0.0
    while spent(high) > budget:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= budget else (middle, high)
    return choose(worth, cost, high), high


def choose(worth: Floats, cost: Floats, price: float) -> Arms:
    """The arm with the highest worth less price × cost of each person; the first one, no offer, where none is above it."""
    return np.argmax(worth - price * cost, axis=1).astype(np.int64)


def forecast(
    features: Floats, arm: Arms, orders: Floats, shares: Floats, terms: Terms, of: Floats
) -> tuple[Floats, Floats]:
    """Expected worth and cost of every arm for persons (`of`, their features), learnt from others; persons × arms each.

    Worth is the X-learner's orders × margin less the cost; the cost counts a voucher for all who are expected to order with
    it, those who would have ordered anyway too.
    """
    worth, cost = np.zeros((len(of), len(shares))), np.zeros((len(of), len(shares)))
    for offer in range(1, len(shares)):
        pair = (arm == 0) | (arm == offer)
        share = float(shares[offer] / (shares[0] + shares[offer]))
        effect = Learners.fit(features[pair], arm[pair] == offer, orders[pair], share).effect(of)
        cost[:, offer] = offer_cost(features, arm, orders, terms, offer, of)
        worth[:, offer] = effect * terms.margin - cost[:, offer]
    return worth, cost


def offer_cost(features: Floats, arm: Arms, orders: Floats, terms: Terms, offer: int, of: Floats) -> Floats:
    """Expected cost of an offer to each person: contact, and the voucher by how likely it is that they order with it."""
    mine = arm == offer
    redeems = np.clip(Ridge.fit(features[mine], (orders[mine] > 0).astype(np.float64)).predict(of), 0, 1)
    return terms.contact[offer] + terms.voucher[offer] * redeems


def cross_fitted(
    features: Floats, arm: Arms, orders: Floats, shares: Floats, terms: Terms
) -> tuple[Floats, Floats, Floats]:
    """Worth, cost and expected reward of every arm for each person of an experiment, by models that have not seen the person."""
    fold = np.random.default_rng(SEED).permutation(len(arm)) % FOLDS
    worth, cost, expected = (np.zeros((len(arm), len(shares))) for _ in range(3))
    reward = terms.reward(arm, orders)
    for number in range(FOLDS):
        out = fold == number
        x, a, y = features[~out], arm[~out], orders[~out]
        worth[out], cost[out] = forecast(x, a, y, shares, terms, features[out])
        for offer in range(len(shares)):
            expected[out, offer] = Ridge.fit(x[a == offer], reward[~out][a == offer]).predict(features[out])
    return worth, cost, expected


def value_of(policy: Arms, arm: Arms, reward: Floats, shares: Floats, expected: Floats) -> PolicyValue:
    """What a policy gains over no offer, estimated from persons whose arms were drawn by lot with known shares.

    Inverse propensity scoring (Horvitz and Thompson 1952), and the doubly robust estimate (Dudík, Langford and Li 2011), whose
    interval is that of a mean. The effective sample size is Kish's, (Σw)² / Σw², of the weights of both sides among those to whom
    the policy offers something, the smaller side: the others say nothing of what offers bring.

    Args:
        policy: arm that the policy gives each person.
        arm: arm that the person had.
        reward: of each person in that arm.
        shares: chance of each arm.
        expected: reward expected of each person in each arm, by models that have not seen the person.
    """
    rows = np.arange(len(arm))
    drawn = np.zeros(expected.shape)
    drawn[rows, arm] = 1 / shares[arm]
    scores = expected + drawn * (reward - expected[rows, arm])[:, None]
    gain = scores[rows, policy] - scores[:, 0]
    ips = (drawn[rows, policy] - drawn[:, 0]) * reward
    offered = policy > 0
    error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    sides = (drawn[rows, policy][offered], drawn[offered, 0])
    size = min(_kish(side) for side in sides)
    mean = float(gain.mean())
    return PolicyValue(float(offered.mean()), float(ips.mean()), mean, mean - _Z90 * error, mean + _Z90 * error, size)


def _kish(weights: Floats) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def effect_intervals(
    features: Floats, arm: Arms, orders: Floats, shares: Sequence[float] | Floats, of: Floats, offer: int, draws: int
) -> tuple[Any, Any]:
    """Ends of the 90 % interval of the extra orders that an offer brings each person: learners fitted anew to persons drawn again."""
    random = np.random.default_rng(SEED)
    pair = np.flatnonzero((arm == 0) | (arm == offer))
    share = float(shares[offer] / (shares[0] + shares[offer]))
    found = np.empty((draws, len(of)))
    for draw in range(draws):
        again = random.choice(pair, len(pair))
        found[draw] = Learners.fit(features[again], arm[again] == offer, orders[again], share).effect(of)
    return tuple(np.quantile(found, [0.05, 0.95], axis=0))
