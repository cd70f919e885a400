"""Rules between products, against counts by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from ecommerce_platform.ml.association import (
    MAX_PRODUCTS,
    Baskets,
    Limits,
    chance,
    count_of,
    count_pairs,
    count_sets,
    false_discovery_rate,
    one_hot,
    rules,
)

PRODUCTS = 6
many_baskets = st.lists(st.lists(st.integers(0, PRODUCTS - 1), max_size=6), min_size=1, max_size=40)


def brute_force_counts(lists: Sequence[Sequence[int]], products: int = PRODUCTS) -> dict[tuple[int, ...], int]:
    """How many baskets hold each set of up to `MAX_PRODUCTS` products."""
    held = [set(one) for one in lists]
    return {
        items: sum(set(items) <= one for one in held)
        for size in range(MAX_PRODUCTS + 1)
        for items in combinations(range(products), size)
    }


def tail(together: int, one: int, other: int, baskets: int) -> Fraction:
    """Fisher's exact test by its definition."""
    ways = sum(comb(other, k) * comb(baskets - other, one - k) for k in range(together, min(one, other) + 1))
    return Fraction(ways, comb(baskets, one))


def brute_force_rules(
    lists: Sequence[Sequence[int]], least: int, limits: Limits
) -> dict[tuple[tuple[int, ...], int], tuple[int, int, int, float, float]]:
    """Rules with their counts, p and q, worked out with fractions from their definitions."""
    counts = brute_force_counts(lists)
    frequent = sum(counts[(i,)] >= least for i in range(PRODUCTS))
    found = {}
    for size in range(2, MAX_PRODUCTS + 1):
        p_values: dict[tuple[tuple[int, ...], int], Fraction] = {}
        for items in combinations(range(PRODUCTS), size):
            if counts[items] < least:
                continue
            for consequent in items:
                left = tuple(i for i in items if i != consequent)
                sure = Fraction(counts[items], counts[left])
                parts = [part for k in range(len(left)) for part in combinations(left, k)]
                simpler = {part: Fraction(counts[tuple(sorted((*part, consequent)))], counts[part]) for part in parts}
                if any(sure <= other for other in simpler.values()) and size > 2:
                    continue
                p_values[left, consequent] = max(
                    tail(counts[items], counts[left], counts[tuple(sorted((*part, consequent)))], counts[part])
                    for part in parts
                    if len(part) == len(left) - 1
                )
        possible = size * comb(frequent, size)
        for (left, consequent), p in p_values.items():
            larger = [other for other in p_values.values() if other >= p]
            q = min(float(other) * possible / sum(o <= other for o in p_values.values()) for other in larger)
            all_of_it = counts[tuple(sorted((*left, consequent)))]
            sure = Fraction(all_of_it, counts[left])
            lift = sure / Fraction(counts[(consequent,)], len(lists))
            reached = sure >= limits.min_confidence and lift >= limits.min_lift and lift > 1
            if reached and min(q, 1) <= limits.max_q:
                found[left, consequent] = (all_of_it, counts[left], counts[(consequent,)], float(p), min(q, 1.0))
    return found


@given(lists=many_baskets, least=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_sets_are_counted_as_by_brute_force(lists: list[list[int]], least: int) -> None:
    counts = count_sets(Baskets.of(lists, PRODUCTS), least)
    truth = brute_force_counts(lists)
    pairs = {tuple(map(int, pair)): int(n) for pair, n in zip(counts.pairs, counts.together, strict=True)}
    assert pairs == {items: n for items, n in truth.items() if len(items) == 2 and n >= least}
    assert dict(counts.longer) == {items: n for items, n in truth.items() if len(items) > 2 and n >= least}
    assert [int(n) for n in counts.single] == [truth[(i,)] for i in range(PRODUCTS)]
    asked = [items for items in truth if len(items) > 1]
    assert count_of(asked, Baskets.of(lists, PRODUCTS)).tolist() == [truth[items] for items in asked]


@given(
    lists=many_baskets,
    least=st.integers(1, 4),
    confidence=st.sampled_from(["0.2", "0.5", "0.8", "1"]),
    max_q=st.sampled_from([0.05, 0.5, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_rules_are_those_of_brute_force(lists: list[list[int]], least: int, confidence: str, max_q: float) -> None:
    limits = Limits(min_confidence=Fraction(confidence), max_q=max_q)
    found = rules(count_sets(Baskets.of(lists, PRODUCTS), least), limits)
    truth = brute_force_rules(lists, least, limits)
    near = {key for key, row in truth.items() if abs(row[4] - max_q) < 1e-9}
    keys = [(rule.antecedent, rule.consequent) for rule in found]
    assert len(set(keys)) == len(keys)
    assert set(keys) | near == set(truth) | near
    for rule in found:
        together, left, right, p, q = truth.get((rule.antecedent, rule.consequent), (rule.together,) * 3 + (0.0, 0.0))
        if (rule.antecedent, rule.consequent) in truth:
            assert (rule.together, rule.with_antecedent, rule.with_consequent) == (together, left, right)
            assert rule.p_value == pytest.approx(p, rel=1e-9)
            assert rule.q_value == pytest.approx(q, rel=1e-9)
            assert rule.baskets == len(lists)
            assert rule.support == together / len(lists)
            assert rule.confidence == together / left
            assert rule.lift == pytest.approx(float(Fraction(together * len(lists), left * right)))
            wrong = Fraction(left - together, left)
            expected = float(Fraction(len(lists) - right, len(lists)) / wrong) if wrong else None
            assert rule.conviction == (None if expected is None else pytest.approx(expected))


def test_apriori_finds_the_same_sets() -> None:
    from mlxtend.frequent_patterns import apriori

    rng = np.random.default_rng(4)
    lists = [sorted(set(rng.zipf(1.4, rng.integers(1, 7)) % 12)) for _ in range(400)]
    baskets, least = Baskets.of(lists, 12), 8
    counts = count_sets(baskets, least)
    table = one_hot(baskets)
    found = apriori(table, min_support=(least - 0.5) / len(table), use_colnames=True, max_len=MAX_PRODUCTS)
    sets = {
        tuple(sorted(map(int, items))): round(share * len(table))
        for share, items in zip(found["support"], found["itemsets"], strict=True)
    }
    pairs = {tuple(map(int, pair)): int(n) for pair, n in zip(counts.pairs, counts.together, strict=True)}
    assert len(counts.longer) > 20
    assert {items: n for items, n in sets.items() if len(items) > 1} == {**pairs, **counts.longer}


def test_a_rule_on_the_threshold_is_in() -> None:
    # 16 of 20, which mlxtend's own rules put below 0.8.
    lists = [[0, 1]] * 16 + [[0]] * 4 + [[2]] * 60
    counts = count_sets(Baskets.of(lists, 3), 16)
    kept = rules(counts, Limits(min_confidence=Fraction("0.8")))
    assert [(rule.antecedent, rule.consequent, rule.confidence) for rule in kept] == [((1,), 0, 1.0), ((0,), 1, 0.8)]
    assert len(rules(counts, Limits(min_confidence=Fraction("0.801")))) == 1
    assert not len(count_pairs(Baskets.of(lists, 3), 17)[0])


def test_a_product_that_adds_nothing_is_left_out_of_the_left_side() -> None:
    # Whoever buys 0 buys 1; 2 lies in half of all baskets whatever else is there.
    lists = [[0, 1], [0, 1, 2], [3], [3, 2]] * 50
    found = {(rule.antecedent, rule.consequent) for rule in rules(count_sets(Baskets.of(lists, 4), 5), Limits())}
    assert found == {((0,), 1), ((1,), 0)}


def test_a_product_that_only_comes_with_two_others_together_is_found_beside_both() -> None:
    lists = [[0, 1, 2]] * 60 + [[0]] * 60 + [[1]] * 60 + [[3]] * 200
    found = {(rule.antecedent, rule.consequent): rule for rule in rules(count_sets(Baskets.of(lists, 4), 5), Limits())}
    rule = found[(0, 1), 2]
    assert (rule.together, rule.with_antecedent, rule.with_consequent, rule.baskets) == (60, 60, 60, 380)
    assert rule.conviction is None


def test_baskets_filled_by_chance_give_almost_no_rules() -> None:
    found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        held = rng.random((2000, 40)) < rng.uniform(0.02, 0.15, 40)
        lists = [np.flatnonzero(row).tolist() for row in held]
        found += bool(rules(count_sets(Baskets.of(lists, 40), 5), Limits()))
    # Each shop gives any rule with 5 % a number of products at most; more than four of ten would be a chance of 0.1 %.
    assert found <= 4


def test_over_the_memory_budget_the_minimum_of_longer_sets_is_raised_and_said() -> None:
    rng = np.random.default_rng(1)
    lists = [rng.choice(30, 10, replace=False).tolist() for _ in range(400)]
    baskets = Baskets.of(lists, 30)
    ample = count_sets(baskets, 5)
    tight = count_sets(baskets, 5, memory_bytes=5_000_000)
    assert ample.min_longer == ample.min_baskets == 5
    assert tight.min_longer > tight.min_baskets == 5
    assert dict(tight.longer) == {items: n for items, n in ample.longer.items() if n >= tight.min_longer}
    assert np.array_equal(tight.pairs, ample.pairs)


def test_chance_is_fishers_test() -> None:
    p = chance(np.array([3]), np.array([4]), np.array([4]), np.array([8]))
    assert p[0] == pytest.approx(17 / 70), "the lady who tasted tea: three or four cups of four"
    rng = np.random.default_rng(0)
    of = rng.integers(2, 5000, 3000)
    one, other = (np.maximum(1, (of * rng.random(3000) ** 3).astype(int)) for _ in range(2))
    least = np.maximum(0, one + other - of)
    mean = one * other / of
    together = np.clip(rng.poisson(mean * rng.choice([0.7, 1, 1.5, 5], 3000)), least, np.minimum(one, other))
    assert chance(together, one, other, of) == pytest.approx(
        hypergeom.sf(together - 1, of, other, one), rel=1e-8, abs=1e-12
    )
    tiny = chance(np.array([400]), np.array([500]), np.array([500]), np.array([100_000]))[0]
    assert tiny == pytest.approx(hypergeom.sf(399, 100_000, 500, 500), rel=1e-6) or tiny == 0


def test_false_discovery_rates_are_those_of_benjamini_and_hochberg() -> None:
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(0).random(50) ** 3
    assert false_discovery_rate(p, 50) == pytest.approx(false_discovery_control(p))
    with_others = false_discovery_control(np.concatenate([p, np.ones(450)]))[:50]
    assert false_discovery_rate(p, 500) == pytest.approx(with_others), "what was not counted has p = 1"
