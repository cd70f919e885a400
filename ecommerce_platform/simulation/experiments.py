"""Randomised experiments with known uplift: who takes part, in which arm, and how much more an arm buys.

The extra visits that an uplift means are made in `people`; here it is only said whose and how many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ecommerce_platform.simulation.randomness import Rng
from ecommerce_platform.simulation.seasons import SECONDS


@dataclass(frozen=True)
class Experiment:
    """One experiment; `begin` and `length` are shares of the shop's days.

    `uplift` gives for each arm the share of orders it adds, by age band from the youngest to the oldest.
    """

    code: str
    arms: tuple[str, ...]
    uplift: tuple[tuple[float, ...], ...]
    begin: float
    length: float
    #: Share of those who could that take part.
    enrolled: float


_NOTHING = (0.0,) * 6
EXPERIMENTS = (
    Experiment("EXP-CHECKOUT", ("control", "one_page"), (_NOTHING, (0.20,) * 6), 0.12, 0.20, 0.9),
    Experiment(
        "EXP-WINBACK", ("control", "reminder", "voucher"),
        (_NOTHING, (0.10,) * 6, (0.60, 0.60, 0.30, 0.30, 0.10, 0.10)), 0.40, 0.20, 0.9,
    ),
    # Nothing differs between its arms: whoever finds an uplift here finds noise.
    Experiment("EXP-BADGE", ("control", "badge"), (_NOTHING, _NOTHING), 0.70, 0.20, 0.6),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """An experiment carried out: days, and one entry per person that takes part."""

    experiment: Experiment
    first: int
    last: int
    person: np.ndarray
    #: Index into the experiment's arms.
    arm: np.ndarray
    #: Seconds after the first day's midnight.
    assigned: np.ndarray

    def lift(self, age_band: np.ndarray) -> np.ndarray:
        """Share of orders added, per entry of `age_band` (all persons); 0 for those who do not take part."""
        factor = np.zeros(len(age_band))
        table = np.array(self.experiment.uplift)
        factor[self.person] = table[self.arm, age_band[self.person]]
        return factor


def make_trials(
    rng: Rng, days: int, known_from: np.ndarray, leaves: np.ndarray, *, uplift: bool = True
) -> tuple[Trial, ...]:
    """The experiments of a shop: those whom the web shop knows before the first day are drawn into arms by lot.

    Args:
        rng: the stream to draw from.
        days: how many days the shop delivers.
        known_from: moment from which the web shop knows each person.
        leaves: day after which each person does not come any more; long gone ones are not asked.
        uplift: false gives the same draws, but no arm does anything.
    """
    found = []
    for planned in EXPERIMENTS:
        experiment = planned if uplift else replace(planned, uplift=(_NOTHING,) * len(planned.arms))
        first = max(int(days * experiment.begin), 1)
        last = min(first + max(int(days * experiment.length), 1), days) - 1
        if last < first:
            continue
        eligible = np.flatnonzero((known_from < first * SECONDS) & (leaves >= first - 30))
        person = eligible[rng.random(len(eligible)) < experiment.enrolled]
        arm = rng.integers(0, len(experiment.arms), len(person))
        # All on the first day, in its first hour: before the shop opens, so to speak.
        assigned = first * SECONDS + np.sort(rng.integers(0, 3600, len(person)))
        found.append(Trial(experiment, first, last, person, arm, assigned))
    return tuple(found)
