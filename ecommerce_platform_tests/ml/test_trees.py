"""Stored trees say what scikit-learn's say, and damaged ones are refused before they score."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.churn_model import fit_boosting, logit
from ecommerce_platform.ml.trees import Trees


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(700, 5)).astype(np.float32)
    return values, (values[:, 0] * values[:, 1] + rng.normal(size=700) > 0).astype(np.int64)


def test_a_forest_of_classifiers_says_the_same() -> None:
    values, outcome = data()
    forest = RandomForestClassifier(20, max_depth=6, random_state=1).fit(values, outcome)
    mine = Trees.of(forest.estimators_, of_class=1).means(values)
    assert mine == pytest.approx(forest.predict_proba(values)[:, 1], abs=1e-12)


def test_a_forest_of_regressors_says_the_same() -> None:
    values, _ = data()
    forest = RandomForestRegressor(15, random_state=1).fit(values, values[:, 2])
    assert Trees.of(forest.estimators_).means(values) == pytest.approx(forest.predict(values), abs=1e-12)


def test_boosting_says_the_same() -> None:
    values, outcome = data()
    theirs = GradientBoostingClassifier(
        n_estimators=50, learning_rate=0.1, max_depth=3, min_samples_leaf=20, max_features="sqrt", subsample=1.0,
        random_state=1,
    ).fit(values, outcome)  # fmt: skip
    mine = fit_boosting(values, outcome, 1, False).logits(values)
    assert mine == pytest.approx(logit(theirs.predict_proba(values)[:, 1]), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("left", 0, 0), ("right", 0, 10**6), ("feature", 0, 5), ("roots", 0, -3), ("value", 0, np.nan)],
)
def test_damaged_trees_are_refused(name: str, at: int, value: float) -> None:
    values, outcome = data()
    forest = RandomForestClassifier(3, max_depth=3, random_state=1).fit(values, outcome)
    state = {k: v.copy() for k, v in Trees.of(forest.estimators_, of_class=1).to_state().items()}
    state[name][at] = value
    with pytest.raises(InputError, match="damaged"):
        Trees.from_state(state, 5)


def test_trees_of_another_size_are_refused() -> None:
    values, outcome = data()
    forest = RandomForestClassifier(3, max_depth=3, random_state=1).fit(values, outcome)
    state = Trees.of(forest.estimators_, of_class=1).to_state()
    with pytest.raises(InputError, match="differ in size"):
        Trees.from_state({**state, "left": state["left"][:-1]}, 5)
