"""Gradient boosting for counts whose trees are kept as plain numbers, so that a fit is JSON and predicts the same anywhere.

scikit-learn fits (histograms, Poisson loss, log link); walking down its trees is all that is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecommerce_platform.ml.forecasting.methods import quiet

#: What is kept of a tree's nodes, and what it is called in scikit-learn's arrays.
_NODE = {
    "feature": "feature_idx",
    "threshold": "num_threshold",
    "missing_left": "missing_go_to_left",
    "left": "left",
    "right": "right",
    "leaf": "is_leaf",
    "value": "value",
}


def fit_counts(rows: np.ndarray, target: np.ndarray, iterations: int, seed: int) -> dict[str, Any]:
    """Trees for the mean of counts (Poisson deviance; Friedman 2001), as plain JSON values.

    Args:
        rows: n × p features; nan is a value of its own.
        target: n values, none below 0, not all 0.
        iterations: trees.
        seed: of binning.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="poisson", max_iter=iterations, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=100,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    # Binning needs values in every column; one that is never known tells nothing, whatever stands in it.
    told = np.where(np.isfinite(rows).any(axis=0)[None, :], rows, 0.0)
    with quiet():
        model.fit(told, target)
    trees = [_tree(predictor.nodes) for (predictor,) in model._predictors]
    return {"start": float(np.ravel(model._baseline_prediction)[0]), "trees": trees}


def _tree(nodes: np.ndarray) -> dict[str, list[Any]]:
    kept = {name: nodes[field].tolist() for name, field in _NODE.items()}
    # A split that only tells missing values apart has an infinite threshold, for which JSON has no number.
    kept["threshold"] = np.nan_to_num(nodes["num_threshold"], posinf=np.finfo(float).max).tolist()
    return kept


def predict_counts(state: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    """The expected count of each row: n × p features to n values above 0."""
    raw = np.full(len(rows), state["start"])
    every = np.arange(len(rows))
    for tree in state["trees"]:
        node = {name: np.asarray(values) for name, values in tree.items()}
        at = np.zeros(len(rows), dtype=np.int64)
        inner = every[~node["leaf"][at].astype(bool)]
        while len(inner):
            here = at[inner]
            value = rows[inner, node["feature"][here]]
            missing = np.isnan(value)
            left = np.where(missing, node["missing_left"][here].astype(bool), value <= node["threshold"][here])
            at[inner] = np.where(left, node["left"][here], node["right"][here])
            inner = inner[~node["leaf"][at[inner]].astype(bool)]
        raw += node["value"][at]
    return np.exp(raw)
