"""Small invented purchase histories with known truth, for the tests of models."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

FIRST_DAY = date(2024, 1, 1)
DAYS = 400


def orders_frame(person: np.ndarray, day: np.ndarray, revenue: np.ndarray) -> pl.DataFrame:
    """Orders as `rfm_as_of` takes them, from person numbers, day numbers and amounts."""
    return pl.DataFrame(
        {
            "person_id": pl.Series([f"p{i:05d}" for i in person], dtype=pl.String),
            "order_date": np.datetime64(FIRST_DAY) + np.asarray(day),
            "revenue": pl.Series(np.round(revenue, 2)).cast(pl.Decimal(18, 4)),
        }
    )


def planted_orders(persons_per_group: int = 150, seed: int = 0) -> tuple[pl.DataFrame, dict[str, int]]:
    """Three kinds of customers that no single score can order, and who is which.

    0: few large purchases, one of them in the last months; 1: many small ones up to the end; 2: some middling
    ones, all in the first weeks. The mean rank in R, F and M cannot tell 0 and 1 apart, later revenue can.
    """
    rng = np.random.default_rng(seed)
    person, day, revenue, truth = [], [], [], {}
    for i in range(3 * persons_per_group):
        group = i % 3
        truth[f"p{i:05d}"] = group
        if group == 0:
            days = rng.choice(np.arange(100, 260), 2, replace=False)
            days = np.append(days, rng.integers(310, 330))
            amounts = rng.normal(900, 40, len(days))
        elif group == 1:
            days = np.concatenate([rng.choice(290, 25, replace=False), rng.integers(292, 310, 2)])
            days = np.append(np.unique(days), rng.integers(380, DAYS))
            amounts = rng.normal(4, 0.3, len(days))
        else:
            days = rng.choice(40, 5, replace=False)
            amounts = rng.normal(40, 3, len(days))
        person += [i] * len(days)
        day += list(days)
        revenue += list(amounts)
    orders = orders_frame(np.array(person), np.array(day), np.array(revenue))
    return orders, truth


def noise_orders(persons: int = 600, seed: int = 1) -> pl.DataFrame:
    """A shop in which who a person is says nothing: everyone buys at random, for random amounts."""
    rng = np.random.default_rng(seed)
    person = np.concatenate([np.arange(persons), rng.integers(0, persons, 4 * persons)])
    return orders_frame(person, rng.integers(0, DAYS, len(person)), rng.lognormal(4, 1, len(person)))


#: Region and age group of persons, of whom nothing is known.
NO_GROUPS = pl.DataFrame(schema=dict.fromkeys(("person_id", "region", "age_group"), pl.String))


def persons_frame(recency: object, frequency: object, monetary: object) -> pl.DataFrame:
    """Persons as in `gold.rfm`, numbered p00000, p00001 and so on."""
    frame = pl.DataFrame({"recency_days": recency, "frequency": frequency, "monetary": monetary}, strict=False)
    return frame.select(
        pl.format("p{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(5)).alias("person_id"),
        pl.col("recency_days").cast(pl.Int64),
        pl.col("frequency").cast(pl.Int64),
        pl.col("monetary").cast(pl.Decimal(18, 4)),
    )


def returning_customers(customers: int = 800, days: int = 900, seed: int = 0) -> pl.DataFrame:
    """Purchase days of customers who buy and leave as BG/NBD says, each at a level of amounts of their own."""
    from ecommerce_platform.ml.purchase_process import BgNbd

    rng = np.random.default_rng(seed)
    model = BgNbd(0.9, 60.0, 0.6, 4.0)
    rate, leaves = rng.gamma(model.r, 1 / model.alpha, customers), rng.beta(model.a, model.b, customers)
    level = 1 / rng.gamma(4.0, 1 / 100.0, customers)
    person, day, revenue = [], [], []
    for i in range(customers):
        clock = float(rng.uniform(0, days))
        while clock < days:
            person.append(i)
            day.append(int(clock))
            revenue.append(rng.gamma(5.0, level[i]))
            if day[-1] != day[0] and rng.random() < leaves[i]:
                break
            clock += rng.exponential(1 / rate[i])
    orders = orders_frame(np.array(person), np.array(day), np.array(revenue))
    return orders.group_by("person_id", "order_date").agg(pl.col("revenue").sum()).sort("person_id", "order_date")
