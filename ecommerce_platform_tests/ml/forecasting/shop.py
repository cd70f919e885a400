"""Small invented shops with known truth, as frames of the forecast models' inputs."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

FIRST_DAY = date(2024, 1, 1)
INDICATORS = {"indicator": pl.String, "published_on": pl.Date, "period_date": pl.Date, "value": pl.Float64}
WEEKDAYS = np.array([1.3, 1.1, 1.0, 0.9, 0.8, 0.7, 1.2])


def busy_days(days: int, level: float, seed: int, drift: float = 0.001) -> np.ndarray:
    """Counts with a weekly rhythm around a level that wanders: the last weekday's value is a poor guess of the next."""
    rng = np.random.default_rng(seed)
    wandering = level * np.exp(np.cumsum(rng.normal(drift, 0.01, days)))
    return rng.poisson(wandering * WEEKDAYS[np.arange(days) % 7]).astype(float)


def frames(days: int = 400, products: int = 30, seed: int = 0, empty: bool = True) -> dict[str, pl.DataFrame]:
    """Inputs of both models: three categories, products sold often and seldom, some shelves empty for a while."""
    rng = np.random.default_rng(seed)
    shape = np.exp(np.cumsum(rng.normal(0.001, 0.01, days))) * WEEKDAYS[np.arange(days) % 7]
    rate = np.concatenate([np.full(products // 2, 4.0), np.full(products - products // 2, 0.1)])
    units = rng.poisson(rate[:, None] * shape[None, :])
    product, day = np.nonzero(units)
    category = np.array(["garden", "kitchen", "toys"])[product % 3]
    dates = np.datetime64(FIRST_DAY) + day
    sales = pl.DataFrame(
        {
            "order_date": dates,
            "product_id": [f"p{i:03d}" for i in product],
            "category": category,
            "units": units[product, day].astype(float),
        }
    )
    by_category = sales.group_by("order_date", "category").agg((pl.col("units").sum() * 20.0).alias("revenue"))
    by_day = sales.group_by("order_date").agg(pl.col("units").sum(), (pl.col("units").sum() * 20.0).alias("revenue"))
    orders = (pl.col("units") / 1.5).round().cast(pl.Int64).alias("orders")
    spell = {
        "product_id": ["p000"] if empty else [],
        "first_date": [FIRST_DAY + timedelta(days=days - 60)] if empty else [],
        "last_date": [FIRST_DAY + timedelta(days=days - 40)] if empty else [],
    }
    return {
        "days": by_day.with_columns(orders, pl.lit(0.0).alias("discount_share")).sort("order_date"),
        "categories": by_category.select("order_date", "category", "revenue").sort("order_date", "category"),
        "sales": sales.sort("order_date", "product_id"),
        "empty": pl.DataFrame(spell, schema={"product_id": pl.String, "first_date": pl.Date, "last_date": pl.Date}),
        "indicators": pl.DataFrame(schema=INDICATORS),
        "leads": pl.DataFrame({"product_id": ["p000", "p001", "p029"], "lead_time_days": [14, 7, 28]}),
    }
