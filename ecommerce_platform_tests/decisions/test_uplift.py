"""Effects per person: found where they were planted, not where there are none, and the curves say which."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.contracts.experiment_plan import ExperimentPlan, ExperimentPlans
from ecommerce_platform.decisions.effects import Learners, cross_fit, qini, standardise
from ecommerce_platform.decisions.uplift import decide_uplift
from ecommerce_platform_tests.planted_shop import Planted


def people(
    size: int, seed: int, slope: float, share: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, arm, outcome and true effect: 0.3, more by `slope` with the first feature."""
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (size, 3))
    treated = random.random(size) < share
    effect = 0.3 + slope * features[:, 0]
    outcome = 1 + 0.5 * features[:, 1] + treated * effect + random.normal(0, 1, size)
    return features, treated, outcome, effect


def test_both_learners_rank_people_by_what_was_planted() -> None:
    features, treated, outcome, effect = people(4_000, 1, slope=0.4)
    found = cross_fit(features, treated, outcome, 0.5)
    assert np.corrcoef(found.x_learner, effect)[0, 1] > 0.9
    assert np.corrcoef(found.t_learner, effect)[0, 1] > 0.9
    assert np.corrcoef(Learners.fit(features, treated, outcome, 0.5).effect(features), effect)[0, 1] > 0.9


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_scores_are_unbiased_for_the_effect_of_any_group(share: float) -> None:
    means = []
    for seed in range(20):
        features, treated, outcome, effect = people(2_000, seed, slope=0.4, share=share)
        found, group = cross_fit(features, treated, outcome, share), features[:, 0] > 0
        means.append((found.score[group] - effect[group]).mean())
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(20)


def test_a_person_s_effect_does_not_depend_on_their_own_outcome() -> None:
    features, treated, outcome, _ = people(500, 3, slope=0.4)
    other = outcome.copy()
    other[7] += 100
    one, two = (cross_fit(features, treated, y, 0.5).x_learner[7] for y in (outcome, other))
    assert one == two


def test_the_qini_of_a_ranking_is_the_area_between_its_curve_and_the_line() -> None:
    score = np.array([4.0, 3, 2, 1, 0, 0, -1, -2, -3, -4])
    found = qini(-np.arange(10.0), score, draws=50)
    gains = np.cumsum(score) / 10
    steps = np.concatenate([[0], gains])
    area = ((steps[1:] + steps[:-1]) / 2).mean() - gains[-1] / 2
    assert found.value == pytest.approx(area)
    assert found.curve == pytest.approx(gains)
    assert qini(np.arange(10.0), score, draws=50).value == pytest.approx(-area)
    # Nobody before anybody: no more than by chance.
    assert qini(np.zeros(10), score, draws=50).value == pytest.approx(0)


def test_a_ranking_by_noise_is_not_above_noise_and_one_by_effects_is() -> None:
    features, treated, outcome, effect = people(4_000, 5, slope=0.4)
    score = cross_fit(features, treated, outcome, 0.5).score
    noise = np.random.default_rng(6).normal(size=4_000)
    assert qini(effect, score).low > 0
    assert qini(noise, score).low < 0 < qini(noise, score).high


def test_the_interval_of_a_qini_is_as_wide_as_new_experiments_scatter() -> None:
    values, errors = [], []
    for seed in range(60):
        features, treated, outcome, effect = people(800, seed, slope=0.3)
        found = qini(effect, cross_fit(features, treated, outcome, 0.5).score, draws=100)
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_columns_are_standardised_by_their_own_figures_or_those_of_others() -> None:
    made, scale = standardise({"a": np.array([1.0, 3.0]), "b": np.array([2.0, 2.0])})
    assert made.tolist() == [[-1, 0], [1, 0]]
    again, _ = standardise({"a": np.array([5.0]), "b": np.array([9.0])}, scale)
    assert again.tolist() == [[3, 0]]


def plans(made: Planted) -> ExperimentPlans:
    return ExperimentPlans(
        experiments={
            t.experiment.code: ExperimentPlan(outcome_window_days=t.last - t.first + 1) for t in made.shop.trials
        }
    )


@pytest.mark.long
def test_shops_whose_experiments_do_nothing_are_abstained_from() -> None:
    made_of = tried = 0
    for seed in range(30001, 30201):
        made = Planted.of(orders=20_000, days=300, seed=seed, uplift=False)
        found = decide_uplift(made.con, plans(made))
        made.con.close()
        tried += found.status != "refused"
        made_of += found.status == "made"
    print("not abstained from", made_of, "of", tried)
    assert tried >= 150
    assert made_of <= 18


@pytest.mark.long
@pytest.mark.parametrize(
    ("orders", "first", "shops", "finds"), [(30_000, 32001, 20, 1), (100_000, 32101, 20, 5), (250_000, 32201, 10, 8)]
)
def test_how_often_planted_differences_are_found(orders: int, first: int, shops: int, finds: int) -> None:
    found = 0
    for seed in range(first, first + shops):
        made = Planted.of(orders=orders, days=400, seed=seed)
        decided = decide_uplift(made.con, plans(made))
        found += any(row["arm"] in ("voucher", "one_page") for row in decided.rows)
        made.con.close()
    # What docs/recommendations.md states of its power.
    assert found == finds
