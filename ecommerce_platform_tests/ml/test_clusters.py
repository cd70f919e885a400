"""K-means: known values, how many clusters, and the map."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecommerce_platform.ml import clusters
from ecommerce_platform.ml.clusters import choose_k, fit_clusters, kmeans, look_at, stability

COLUMNS = ("recency_days", "frequency", "monetary")
TRAITS = {"monetary": ("low value", "high value"), "recency_days": ("recent", "lapsed")}


def groups(centres: list[tuple[float, float, float]], each: int, spread: float, seed: int = 0) -> np.ndarray:
    """Persons around these centres, in logarithms."""
    rng = np.random.default_rng(seed)
    return np.exp(np.concatenate([rng.normal(centre, spread, (each, 3)) for centre in centres]))


def test_the_inertia_of_iris_is_that_of_the_literature() -> None:
    from sklearn.datasets import load_iris

    found = kmeans(load_iris().data, 3, seed=1)
    assert found.inertia_ == pytest.approx(78.851441, abs=1e-6)
    assert sorted(np.bincount(found.labels_)) == [38, 50, 62]


@pytest.mark.parametrize(
    ("values", "lambdas"),
    [
        (lambda x: np.exp(x), (-0.1, 0.1)),  # a lognormal variable: the logarithm
        (lambda x: (x + 10) ** 2, (0.3, 0.7)),
        (lambda x: x + 10, (0.6, 1.4)),
    ],
)
def test_box_cox_finds_the_power_that_makes_values_normal(values: object, lambdas: tuple[float, float]) -> None:
    x = np.random.default_rng(0).normal(0, 1, 20_000)
    assert lambdas[0] < clusters.exponent(values(x)) < lambdas[1]  # type: ignore[operator]


def test_three_planted_groups_stay_three_and_agree_with_every_resample() -> None:
    values = groups([(1, 0, 5), (4, 2, 3), (5, 0, 1)], 150, 0.2)
    k, seen = choose_k(values, COLUMNS, seed=1, full=False)
    assert k == 3
    (found,) = seen
    assert found.stability == pytest.approx(1)
    assert found.lowest == pytest.approx(1)
    assert found.smallest_share == pytest.approx(1 / 3)


def test_where_three_are_unstable_the_stablest_number_is_taken() -> None:
    # Two round groups: a third cluster halves one of them, another way each time.
    values = groups([(1, 1, 1), (5, 5, 5)], 400, 0.3)
    k, seen = choose_k(values, COLUMNS, seed=1, full=False)
    by_number = {found.k: found for found in seen}
    assert by_number[3].stability < clusters.STABLE
    assert k == 2
    assert by_number[2].stability == pytest.approx(1)
    assert sorted(by_number) == list(clusters.CANDIDATES)


def test_a_cluster_of_a_handful_is_not_wanted_however_stable_it_is() -> None:
    far = np.full((3, 3), 1e6) * np.arange(1, 4)[:, None]
    values = np.concatenate([groups([(1, 0, 5), (4, 2, 3), (5, 0, 1), (2, 4, 4)], 150, 0.15), far])
    points = clusters._prepare(values)[1]
    assert look_at(points, 5, 1).smallest_share == pytest.approx(3 / 603)
    k, seen = choose_k(values, COLUMNS, seed=1, full=True)
    assert next(found for found in seen if found.k == k).smallest_share >= clusters.MIN_SHARE


def test_the_best_silhouette_does_not_choose() -> None:
    # Two pairs and one far off: more than three stand apart best, three are as stable.
    values = groups([(1, 1, 1), (2.5, 1, 1), (5, 5, 1), (5, 5, 2.5), (3, 3, 8)], 150, 0.1)
    k, seen = choose_k(values, COLUMNS, seed=1, full=True)
    best = max(seen, key=lambda found: found.silhouette)
    assert k == 3 != best.k


def test_resamples_agree_no_better_than_chance_where_there_are_no_groups() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3))
    labels = np.random.default_rng(1).integers(0, 3, 500)
    assert np.abs(stability(points, 3, 1, labels)).max() < 0.05


def test_the_map_lies_along_the_principal_components() -> None:
    values = groups([(1, 0, 5), (4, 2, 3), (5, 0, 1)], 150, 0.2)
    model, _ = fit_clusters(values, COLUMNS, TRAITS, seed=1)
    assert model is not None
    points, places = model.standardised(values), model.on_map(values)
    variance = np.linalg.eigvalsh(np.cov(points.T, bias=True))[::-1]
    assert places.var(0) == pytest.approx(variance[:2])
    assert np.corrcoef(places.T)[0, 1] == pytest.approx(0, abs=1e-9)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in model.axes)


def test_the_json_gives_the_labels_without_any_of_this_code() -> None:
    values = groups([(1, 0, 5), (4, 2, 3), (5, 0, 1)], 150, 0.2)
    model, _ = fit_clusters(values, COLUMNS, TRAITS, seed=1)
    assert model is not None
    said = json.loads(model.as_json())
    lambdas = np.array([said["box_cox_lambdas"][name] for name in said["features"]])
    transformed = np.where(lambdas == 0, np.log(values), (values**lambdas - 1) / np.where(lambdas == 0, 1, lambdas))
    points = (transformed - said["mean"]) / said["scale"]
    labels = ((points[:, None] - np.array(said["centres"])[None]) ** 2).sum(2).argmin(1)
    assert labels.tolist() == model.nearest(values)[0].tolist()
