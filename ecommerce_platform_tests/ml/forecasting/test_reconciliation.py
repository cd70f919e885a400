"""Parts and total add up, as the general formula says."""

from __future__ import annotations

import numpy as np
import pytest

from ecommerce_platform.ml.forecasting.reconciliation import bottom_up, mint, top_down


def test_mint_is_the_general_projection_for_one_total() -> None:
    rng = np.random.default_rng(0)
    total, parts = 100.0, rng.uniform(10, 30, 5)
    variances = rng.uniform(1, 9, 6)
    summing = np.vstack([np.ones(5), np.eye(5)])
    weights = np.diag(1 / variances)
    own = np.concatenate([[total], parts])
    expected = np.linalg.solve(summing.T @ weights @ summing, summing.T @ weights @ own)
    assert mint(np.array(total), parts, variances[0], variances[1:]) == pytest.approx(expected)


def test_a_sure_total_moves_its_parts_and_an_unsure_one_is_moved() -> None:
    parts = np.array([[40.0], [20.0]])
    assert mint(np.array([90.0]), parts, 0.0, np.array([2.0, 1.0]))[:, 0].tolist() == [60.0, 30.0]
    assert mint(np.array([90.0]), parts, 1e12, np.array([2.0, 1.0]))[:, 0] == pytest.approx([40.0, 20.0])


def test_parts_never_fall_below_nothing() -> None:
    moved = mint(np.array([1.0]), np.array([[1.0], [30.0]]), 1.0, np.array([50.0, 50.0]))
    assert moved.min() == 0


def test_without_known_errors_parts_stay() -> None:
    parts = np.array([[1.0], [2.0]])
    assert mint(np.array([9.0]), parts, 0.0, np.zeros(2)).tolist() == parts.tolist()


def test_top_down_keeps_the_total_and_bottom_up_the_parts() -> None:
    parts = np.array([[1.0, 0.0], [3.0, 0.0]])
    assert top_down(np.array([8.0, 6.0]), parts).tolist() == [[2.0, 3.0], [6.0, 3.0]]
    assert bottom_up(parts).tolist() == [4.0, 0.0]
