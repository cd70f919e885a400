"""Comparisons of arms against closed forms, against what other libraries compute, and against many experiments without an effect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from ecommerce_platform.decisions.power import detectable, power, units_per_arm
from ecommerce_platform.decisions.statistics import (
    Estimate,
    always_valid,
    bootstrap_t,
    cuped,
    difference_in_differences,
    holm,
    ratio_of_sums,
    sample_ratio_p,
    skewness,
    welch,
)

#: Units of control and treated arm.
SPLITS = ((1_000, 1_000), (9_000, 1_000))


def money(random: np.random.Generator, *size: int) -> np.ndarray:
    """Half of the customers spend nothing, the others log-normal amounts."""
    return np.where(random.random(size) < 0.5, 0.0, random.lognormal(3, 1, size))


def test_welch_is_that_of_scipy_and_its_lift_is_the_share_of_the_control() -> None:
    random = np.random.default_rng(1)
    control, treated = random.normal(10, 3, 400), random.normal(11, 5, 90)
    found = welch(control, treated)
    known = stats.ttest_ind(treated, control, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert (found.p_value, found.low, found.high) == pytest.approx((known.pvalue, low, high))
    assert found.lift == pytest.approx(treated.mean() / control.mean() - 1)
    assert found.lift_low < found.lift < found.lift_high


def test_the_chi_square_of_arms_is_that_of_scipy_and_flags_a_known_mismatch() -> None:
    assert sample_ratio_p([44_700, 45_489], [0.5, 0.5]) == pytest.approx(0.0086, abs=5e-5)
    expected = np.array([900, 100]) * 1.0
    assert sample_ratio_p([880, 120], [9, 1]) == pytest.approx(stats.chisquare([880, 120], expected).pvalue)


def test_holm_is_that_of_statsmodels() -> None:
    p_values = [0.01, 0.04, 0.03, 0.5, 0.001]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_power_and_size_are_those_of_statsmodels() -> None:
    known = TTestIndPower()
    assert units_per_arm(0.5) == (64, 64)
    for effect, control, treated in ((0.5, 64, 64), (0.1, 900, 300), (0.02, 9_000, 1_000), (1.5, 10, 10)):
        expected = known.power(effect, control, 0.05, ratio=treated / control)
        assert power(effect, control, treated) == pytest.approx(expected, abs=1e-6)
    assert detectable(64, 64) == pytest.approx(known.solve_power(None, 64, 0.05, 0.8), abs=1e-6)
    control, treated = units_per_arm(0.1, share=0.1)
    assert power(0.1, control, treated) >= 0.8 > power(0.1, control - 9, treated - 1)


def test_a_ratio_of_sums_has_the_spread_that_new_shops_have() -> None:
    random = np.random.default_rng(3)

    def shop() -> tuple[np.ndarray, np.ndarray]:
        orders = random.poisson(1.5, 2_000).astype(float)
        return orders * random.lognormal(3, 0.4, 2_000), orders

    ratios = [top.sum() / bottom.sum() for top, bottom in (shop() for _ in range(600))]
    (t0, b0), (t1, b1) = shop(), shop()
    found = ratio_of_sums(t0, t1, b0, b1)
    assert found.control == pytest.approx(t0.sum() / b0.sum())
    assert found.error == pytest.approx(np.sqrt(2) * np.std(ratios), rel=0.1)


def test_what_was_known_before_takes_its_share_of_the_variance_away_and_leaves_the_effect() -> None:
    random = np.random.default_rng(4)
    before = random.gamma(2, 5, 8_000)
    outcome = 0.8 * before + random.normal(0, 3, 8_000)
    treated = np.arange(8_000) % 2 == 1
    outcome[treated] += 0.5
    a0, a1, explained = cuped(outcome[~treated], outcome[treated], before[~treated], before[treated])
    plain, adjusted = welch(outcome[~treated], outcome[treated]), welch(a0, a1)
    assert explained == pytest.approx(np.corrcoef(before, outcome)[0, 1] ** 2, abs=0.01)
    assert adjusted.error == pytest.approx(plain.error * np.sqrt(1 - explained), rel=0.02)
    assert adjusted.low < 0.5 < adjusted.high
    assert a0.mean() + a1.mean() == pytest.approx(outcome[~treated].mean() + outcome[treated].mean())


def test_a_covariate_without_variance_changes_nothing() -> None:
    control, treated = np.array([1.0, 2, 3]), np.array([2.0, 3, 5])
    assert cuped(control, treated, np.ones(3), np.ones(3)) == (control, treated, 0.0)


def test_arms_without_variance_are_compared_all_the_same() -> None:
    same, other = np.ones(50), np.full(50, 2.0)
    assert (welch(same, same).p_value, welch(same, other).p_value) == (1.0, 0.0)
    assert bootstrap_t(same, other).difference == 1.0
    assert np.isnan(welch(np.zeros(50), other).lift)
    assert skewness(same) == 0.0
    with pytest.raises(ValueError, match="fewer than two units"):
        welch(np.ones(1), other)


def test_a_confidence_sequence_is_wider_than_one_look_and_agrees_with_its_p_value() -> None:
    random = np.random.default_rng(5)
    for shift in (0.0, 0.1, 0.25):
        once = welch(random.normal(1, 1, 500), random.normal(1 + shift, 1, 500))
        found = always_valid(once, 0.2)
        assert found.low < once.low < once.high < found.high
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
    with pytest.raises(ValueError, match="above 0"):
        always_valid(once, 0.0)


def panel(random: np.random.Generator, effect: float, drift: float = 0.0) -> dict[str, np.ndarray]:
    """Twenty units over twelve periods, half of them treated from the ninth on."""
    unit, period = np.repeat(np.arange(20), 12), np.tile(np.arange(12), 20)
    value = random.normal(0, 3, 20)[unit] + random.normal(0, 1, 12)[period] + random.normal(0, 1, 240)
    value += np.where((unit < 10) & (period >= 8), effect, 0) + drift * period * (unit < 10)
    return {"unit": unit, "treated": unit < 10, "period": period, "value": value}


def test_a_difference_in_differences_finds_the_effect_and_groups_that_part_anyway() -> None:
    random = np.random.default_rng(6)
    found = difference_in_differences(panel(random, 2.0), 8)
    assert found["low"] < 2.0 < found["high"]
    assert found["p_value"] < 0.001
    assert min(found["trend_p_value"], found["placebo_p_value"]) > 0.05
    apart = difference_in_differences(panel(random, 0.0, drift=0.5), 8)
    assert max(apart["trend_p_value"], apart["placebo_p_value"]) < 0.001


def test_a_panel_without_control_or_with_gaps_has_no_difference_in_differences() -> None:
    cells = panel(np.random.default_rng(7), 1.0)
    with pytest.raises(ValueError, match="needs two units in each group"):
        difference_in_differences({**cells, "treated": np.ones(240, bool)}, 8)
    with pytest.raises(ValueError, match="no gaps"):
        difference_in_differences({name: values[1:] for name, values in cells.items()}, 8)


def covered(runs: int, seed: int, split: tuple[int, int], interval: Callable[..., tuple[float, float]]) -> float:
    """Share of experiments without an effect whose interval holds 0."""
    random, found = np.random.default_rng(seed), 0
    for run in range(runs):
        low, high = interval(money(random, split[0]), money(random, split[1]), run)
        found += low <= 0 <= high
    return found / runs


@pytest.mark.long
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_closed_form_intervals_cover_no_effect_as_often_as_they_say(split: tuple[int, int]) -> None:
    def plain(a: np.ndarray, b: np.ndarray, run: int) -> tuple[float, float]:
        found = welch(a, b)
        return found.low, found.high

    share = covered(10_000, 11, split, plain)
    print(f"welch {split}: {share:.4f}")
    assert 0.94 <= share <= 0.96


@pytest.mark.long
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_bootstrap_intervals_cover_no_effect_as_often_as_they_say(split: tuple[int, int]) -> None:
    def drawn(a: np.ndarray, b: np.ndarray, run: int) -> tuple[float, float]:
        found = bootstrap_t(a, b, draws=299, seed=run)
        return found.low, found.high

    share = covered(2_000, 12, split, drawn)
    print(f"bootstrap_t {split}: {share:.4f}")
    assert 0.935 <= share <= 0.965


@pytest.mark.long
def test_other_closed_forms_reject_no_effect_as_often_as_they_say() -> None:
    random, runs = np.random.default_rng(13), 10_000
    ratio = adjusted = lifts = 0
    for _ in range(runs):
        orders = random.poisson(0.7, 2_000).astype(float)
        spent = orders * random.lognormal(3, 0.6, 2_000)
        before = 0.5 * spent + money(random, 2_000)
        ratio += ratio_of_sums(spent[:1000], spent[1000:], orders[:1000], orders[1000:]).p_value < 0.05
        a0, a1, _ = cuped(spent[:1000], spent[1000:], before[:1000], before[1000:])
        found = welch(a0, a1)
        adjusted += found.p_value < 0.05
        lifts += not found.lift_low <= 0 <= found.lift_high
    shares = ratio / runs, adjusted / runs, lifts / runs
    print(f"aov, cuped, lift: {shares}")
    assert all(0.04 <= share <= 0.06 for share in shares)


@pytest.mark.long
def test_looking_every_day_rejects_no_effect_no_more_often_than_it_says() -> None:
    random, runs, a_day = np.random.default_rng(14), 10_000, 40
    rejected = 0
    for _ in range(runs):
        arms = money(random, 2, 28 * a_day)
        sums, squares = (np.cumsum(x, axis=1)[:, a_day - 1 :: a_day] for x in (arms, arms**2))
        size = np.arange(1, 29) * a_day
        means = sums / size
        errors = np.sqrt(((squares - size * means**2) / (size - 1) / size).sum(axis=0))
        rejected += any(
            always_valid(_estimate(m0, m1, error), 0.1 * 16.6).p_value < 0.05
            for m0, m1, error in zip(means[0], means[1], errors, strict=True)
        )
    print(f"sequential, 28 looks: {rejected / runs:.4f}")
    assert rejected / runs <= 0.057


def _estimate(control: float, treated: float, error: float) -> Estimate:
    unknown = float("nan")
    return Estimate(
        "welch", control, treated, treated - control, unknown, unknown, unknown, unknown, unknown, unknown, error
    )
