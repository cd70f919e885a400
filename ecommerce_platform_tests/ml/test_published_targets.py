"""What gives the published targets away is shown by figures, and nothing of later days is in the others."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.published_targets import (
    churn,
    customers_as_of,
    daily_revenue,
    forecast_errors,
    lifetime_value,
    read_transactions,
    seasonal_naive,
    targets_page,
    weekday_mean,
)
from ecommerce_platform.simulation import generate_analytics_shop


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return read_transactions(generate_analytics_shop(tmp_path_factory.mktemp("targets") / "shop.sqlite"))


def test_a_days_revenue_is_zero_where_nothing_was_sold() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 1), date(2024, 1, 4)]
    assert daily_revenue(pl.DataFrame({"date": days, "revenue": [1.0, 2.0, 5.0]})).tolist() == [3, 0, 0, 5]


def test_errors_by_hand() -> None:
    # Off by 1, 2 and 1 of a mean of 2; of the days that are not zero by 1/2 and 2/4.
    found = forecast_errors(np.array([2.0, 4.0, 0.0]), np.array([1.0, 6.0, 1.0]))
    assert found == pytest.approx({"MAE ÷ mean": 2 / 3, "1 − MAPE": 0.5})


def test_simple_forecasts_keep_the_weekday() -> None:
    history = np.tile(np.arange(7.0), 10)[:66]
    for forecast in (seasonal_naive, weekday_mean):
        assert forecast(history, 10).tolist() == [(66 + k) % 7 for k in range(10)]


def test_features_are_those_up_to_the_day(rows: pl.DataFrame) -> None:
    day = date(2024, 6, 30)
    without = rows.filter(pl.col("date") <= day)
    assert customers_as_of(rows, day).equals(customers_as_of(without, day))
    one = customers_as_of(rows, day).row(0, named=True)
    mine = without.filter(pl.col("customer_id") == one["customer_id"])
    assert one["orders"] == mine.height
    assert one["revenue"] == pytest.approx(mine["revenue"].sum())
    assert one["recency_days"] == (day - mine["date"].max()) / timedelta(days=1)


def test_the_published_churn_target_is_told_by_recency_alone(rows: pl.DataFrame) -> None:
    found = {(f.how, f.who): f.figures for f in churn(rows)}
    assert found["as published", "recency alone"]["AUC"] > 0.999
    assert 0.5 < found["point-in-time", "recency alone"]["AUC"] < 0.8


def test_the_published_lifetime_value_is_the_product_of_its_features(rows: pl.DataFrame) -> None:
    found = {(f.how, f.who): f.figures for f in lifetime_value(rows)}
    assert found["as published", "order count × AOV"]["MAE ÷ mean"] == pytest.approx(0, abs=1e-9)
    assert found["as published", "RandomForest"]["MAE ÷ mean"] < 0.2
    assert found["point-in-time", "RandomForest"]["MAE ÷ mean"] > 0.5


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_transactions(tmp_path / "nothing.sqlite")


@pytest.mark.long
def test_the_page_has_each_target_twice(rows: pl.DataFrame) -> None:
    page = targets_page(rows, None, "ecommerce targets")
    for title in ("Daily revenue: ARIMA(5,1,2)", "Churn", "Lifetime value"):
        part = page.split(f"## {title}\n")[1].split("\n## ")[0]
        assert "| as published |" in part
        assert "| point-in-time |" in part
        assert "What gives it away" in part
