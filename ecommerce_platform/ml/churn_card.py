"""What a card shows of the churn model: lift and calibration, what it looks at, and how it does for whom.

Tables and pictures of figures that `churn.py` has worked out; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecommerce_platform.ml.cards import Exhibit
from ecommerce_platform.ml.churn_rows import LABEL
from ecommerce_platform.ml.classification import measures
from ecommerce_platform.ml.fairness import by_group
from ecommerce_platform.ml.plots import Bars, Line, Points, plot

if TYPE_CHECKING:
    import polars as pl

Rows = Sequence[Mapping[str, Any]]
#: Features a card names.
_NAMED = 15


def exhibits(deciles: Rows, importance: Rows, newest: pl.DataFrame, probability: np.ndarray) -> list[Exhibit]:
    """What a card shows of the newest cut-off.

    Args:
        deciles: rows of `ml.churn_deciles`.
        importance: rows of `ml.churn_importance`.
        newest: the customers.
        probability: of each, as calibrated on earlier cut-offs.
    """
    shown = [_lift(deciles), _calibration(deciles, newest, probability), _looked_at(importance)]
    return [*shown, *_for_whom(newest, probability)]


def _lift(deciles: Rows) -> Exhibit:
    labels = [str(row["decile"]) for row in deciles]
    picture = plot(
        Bars(labels, [row["lift"] for row in deciles], str(deciles[0]["method"])),
        Bars(labels, [row["baseline_lift"] for row in deciles], "recency alone"),
        title="Lift by decile", x="tenth of the customers, most likely to be lost first", y="share lost ÷ share of all",
    )  # fmt: skip
    rows = [
        (r["decile"], r["customers"], f"{r['mean_probability']:.3f}", f"{r['churn_rate']:.3f}", f"{r['lift']:.2f}",
         f"{r['baseline_lift']:.2f}")
        for r in deciles
    ]  # fmt: skip
    return Exhibit(
        "Lift by decile", "", ("decile", "customers", "predicted", "lost", "lift", "of recency alone"), rows, picture
    )


def _calibration(deciles: Rows, newest: pl.DataFrame, probability: np.ndarray) -> Exhibit:
    said, was = [row["mean_probability"] for row in deciles], [row["churn_rate"] for row in deciles]
    edges = [min(said + was), max(said + was)]
    picture = plot(
        Line(edges, edges, "as predicted", dashed=True), Points(said, was, "tenths of the customers"),
        title="Calibration", x="mean predicted probability", y="share that was lost",
    )  # fmt: skip
    text = (
        f"Customers as of {newest['as_of_date'][0]}, whom the fit had not seen: {newest[LABEL].to_numpy().mean():.1%} were "
        f"lost, {probability.mean():.1%} were predicted."
    )
    return Exhibit("Calibration", text, svg=picture)


def _looked_at(importance: Rows) -> Exhibit:
    rows = [(row["feature"], f"{row['auc_loss']:.4f}") for row in importance[:_NAMED]]
    return Exhibit("What it looks at", "AUC lost when a feature's values are shuffled.", ("feature", "loss"), rows)


def _for_whom(newest: pl.DataFrame, probability: np.ndarray) -> list[Exhibit]:
    """How it does by region and age group: equal errors are what fairness asks for."""
    outcome = newest[LABEL].to_numpy()

    def auc(at: np.ndarray) -> float | None:
        return measures(outcome[at], probability[at], 0.5)["auc"] if 0 < outcome[at].sum() < len(at) else None

    return by_group(
        newest.select("region", "age_group"),
        {
            "predicted": lambda at: float(probability[at].mean()),
            "lost": lambda at: float(outcome[at].mean()),
            "AUC": auc,
        },
    )
