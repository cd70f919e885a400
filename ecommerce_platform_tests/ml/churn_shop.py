"""Invented customers with known outcomes, as `churn_rows.labelled_rows` gives them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from ecommerce_platform.ml.churn_rows import NUMBERS, TEXTS

FIRST = date(2024, 1, 1)
GAP, WINDOW = 1, 90


def labelled(customers: int = 600, *, stars: float = 1.5, cut_offs: int = 3, seed: int = 0) -> pl.DataFrame:
    """Customers as of cut-offs a window apart, who stay away by recency and by `stars` times their review score.

    With stars = 0 nothing but recency says what becomes of them; all other features are noise.
    """
    rng = np.random.default_rng(seed)
    return pl.concat(_as_of(rng, FIRST + timedelta(days=(GAP + WINDOW) * k), customers, stars) for k in range(cut_offs))


def _as_of(rng: np.random.Generator, day: date, n: int, stars: float) -> pl.DataFrame:
    recency, bought, score = rng.integers(0, 2 * WINDOW, n), rng.geometric(0.4, n), rng.normal(size=n)
    lost = rng.random(n) < 1 / (1 + np.exp(-(recency / 60 - 1.5 - stars * score)))
    noise = {name: rng.exponential(size=n) for name in NUMBERS}
    unknown = rng.random(n) < 0.2
    columns = {
        **noise,
        "recency_days": recency.astype(float),
        "purchase_days": bought.astype(float),
        "avg_review_score": score,
        "sessions": pl.Series(rng.poisson(3, n)).cast(pl.Float64).set(pl.Series(unknown), None),
        **{name: rng.choice(["a", "b", "c"], n) for name in TEXTS},
        "is_lost": lost.astype(np.int64),
        "outcome_from": [day + timedelta(days=GAP + 1)] * n,
        "outcome_to": [day + timedelta(days=GAP + WINDOW)] * n,
        "newest_order_date": [day - timedelta(days=int(r)) for r in recency],
        "buying_days": bought,
    }
    return pl.DataFrame({"as_of_date": [day] * n, "person_id": [f"p{i:05d}" for i in range(n)], **columns})


def inputs(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What a training is given."""
    purchases = pl.DataFrame(schema={"person_id": pl.String, "order_date": pl.Date})
    return {"labelled": rows, "purchases": purchases}


def exactly(state: Any) -> str:
    """A state to the last digit, as text."""
    return json.dumps(state, default=lambda array: [str(array.dtype), array.tolist()])
