"""The small analytics shop has exactly what was asked for, and its customers leave for the reasons that are said."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecommerce_platform.simulation import generate_analytics_shop


def ask(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as con:
        return con.execute(sql).fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_analytics_shop(tmp_path_factory.mktemp("analytics") / "shop.sqlite")


def test_there_are_as_many_as_were_asked_for(shop: Path) -> None:
    assert ask(shop, "select count(*), count(distinct customer_id) from transactions") == [(15_000, 2_000)]
    ((first, last, days),) = ask(
        shop, "select min(date), max(date), julianday(max(date)) - julianday(min(date)) + 1 from transactions"
    )
    assert (first, last, days) == ("2023-01-01", "2024-12-30", 730)


def test_the_same_seed_gives_the_same_rows_and_another_gives_others(tmp_path: Path, shop: Path) -> None:
    rows = "select * from transactions order by 1"
    assert ask(generate_analytics_shop(tmp_path / "a.sqlite"), rows) == ask(shop, rows)
    assert ask(generate_analytics_shop(tmp_path / "b.sqlite", seed=2), rows) != ask(shop, rows)


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    for count in (500, 300):
        generate_analytics_shop(path, transactions=count, customers=60, days=200)
    assert ask(path, "select count(*) from transactions") == [(300,)]


def test_customers_agree_with_their_transactions(shop: Path) -> None:
    wrong = ask(
        shop,
        "select c.customer_id from customers as c inner join (select customer_id, max(date) as last, min(date) as first, "
        "sum(revenue) as total from transactions group by 1) as t using (customer_id) "
        "where c.last_purchase_date <> t.last or c.acquisition_date > t.first or abs(c.lifetime_value - t.total) > 0.01",
    )
    assert wrong == []


def test_there_is_a_trend_and_a_season_of_the_week(shop: Path) -> None:
    by_month = dict(ask(shop, "select substr(date, 1, 7), count(*) from transactions group by 1"))
    assert by_month["2024-11"] > 1.3 * by_month["2023-11"]
    assert by_month["2024-11"] > 1.5 * by_month["2024-05"]
    by_weekday = dict(ask(shop, "select strftime('%w', date), count(*) from transactions group by 1"))
    assert by_weekday["6"] > 1.3 * by_weekday["2"]


def test_customers_leave_the_sooner_the_less_satisfied_and_the_later_delivered(shop: Path) -> None:
    """After a purchase in the first 500 days: does another one follow within 150 days?"""
    rows = ask(
        shop,
        "select satisfaction_score, delivery_days, coalesce(julianday(lead(date) over w) - julianday(date) <= 150, 0), "
        "julianday(date) - julianday('2023-01-01') from transactions "
        "window w as (partition by customer_id order by date, transaction_id)",
    )
    stars, days, again, day = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    early = day < 500

    def share(chosen: np.ndarray) -> float:
        return float(again[early & chosen].mean())

    assert share(stars <= 2) + 0.1 < share(stars >= 5)
    # The same satisfaction, another delivery.
    assert share((stars == 4) & (days >= 7)) < share((stars == 4) & (days <= 3))
