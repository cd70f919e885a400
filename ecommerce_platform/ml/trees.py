"""Fitted trees as plain arrays: what is stored of a forest, and what scores with it.

scikit-learn's own trees are built in memory without a look at what a file says, so a tampered one could read anywhere;
these arrays are checked when they are loaded, and add up in the same order whatever the number of threads. How a forest
is fitted is the business of the models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecommerce_platform.errors import InputError

_BATCH = 100_000
_FIELDS = ("roots", "feature", "threshold", "left", "right", "value")


@dataclass(frozen=True)
class Trees:
    """Trees one after the other in flat arrays, a node each place.

    Attributes:
        roots: place of each tree's root; int64.
        feature: column that the node asks about, -1 for a leaf; int64.
        threshold: rows with a value of at most this go left; float64, compared with float32 values as scikit-learn does.
        left: place of the node for those; int64.
        right: place of the node for the others; int64.
        value: what a leaf says; float64.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, fitted: Sequence[Any], *, of_class: int | None = None) -> Trees:
        """The arrays of scikit-learn's decision trees.

        Args:
            fitted: trees, such as `forest.estimators_`.
            of_class: for classifiers the class whose share a leaf says; None for regressors.
        """
        parts: list[list[np.ndarray]] = []
        roots, at = [], 0
        for one in fitted:
            tree = one.tree_
            leaf = tree.children_left < 0
            value = tree.value[:, 0, 0 if of_class is None else of_class]
            child = (tree.children_left, tree.children_right)
            left, right = (np.where(leaf, -1, c.astype(np.int64) + at) for c in child)
            parts.append([np.where(leaf, -1, tree.feature), np.where(leaf, 0.0, tree.threshold), left, right, value])
            roots.append(at)
            at += len(leaf)
        feature, threshold, left, right, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(
            np.array(roots, dtype=np.int64), feature.astype(np.int64), threshold.astype(np.float64),
            left.astype(np.int64), right.astype(np.int64), value.astype(np.float64),
        )  # fmt: skip

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum over trees of what their leaves say, for each row of n × d values; added up tree by tree."""
        batches = [self._sums(values[at : at + _BATCH]) for at in range(0, len(values), _BATCH)]
        return np.concatenate(batches) if batches else np.zeros(0)

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean over trees, for each row."""
        return self.sums(values) / len(self.roots)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(values, dtype=np.float32)
        width, flat, n = rows.shape[1], rows.ravel(), len(rows)
        total, base = np.zeros(n), np.arange(n) * width
        for root in self.roots:
            node = np.full(n, root)
            open_ = np.arange(n) if self.feature[root] >= 0 else np.zeros(0, dtype=np.int64)
            while len(open_):
                at = node[open_]
                goes_left = flat[base[open_] + self.feature[at]] <= self.threshold[at]
                at = np.where(goes_left, self.left[at], self.right[at])
                node[open_] = at
                open_ = open_[self.feature[at] >= 0]
            total += self.value[node]
        return total

    def to_state(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], columns: int) -> Trees:
        """The trees that `to_state` stored.

        Args:
            state: arrays by name.
            columns: how many columns the rows to be scored have.

        Raises:
            InputError: the arrays are no trees over so many columns: sizes differ, or a node leads nowhere or back.
        """
        arrays = {name: np.asarray(state.get(name)) for name in _FIELDS}
        nodes = len(arrays["feature"]) if arrays["feature"].ndim == 1 else 0
        sizes = {len(a) for n, a in arrays.items() if n != "roots" and a.ndim == 1}
        whole = all(arrays[n].dtype == np.int64 and arrays[n].ndim == 1 for n in ("roots", "feature", "left", "right"))
        if not whole or sizes != {nodes} or not nodes:
            raise InputError("the stored trees are damaged: their parts differ in size", fix="train the model again")
        inner = np.flatnonzero(arrays["feature"] >= 0)
        ahead = all(((arrays[n][inner] > inner) & (arrays[n][inner] < nodes)).all() for n in ("left", "right"))
        inside = ((arrays["roots"] >= 0) & (arrays["roots"] < nodes)).all() and (arrays["feature"] < columns).all()
        if not ahead or not inside or not np.isfinite(arrays["value"]).all():
            raise InputError("the stored trees are damaged: a node leads nowhere", fix="train the model again")
        return cls(**arrays)
