"""What is bought together: shops with known habits, and the tables that come of them."""

from __future__ import annotations

import json
from datetime import date, timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.baskets import (
    BASELINE,
    METHOD,
    MODEL,
    RULES,
    SHOWN,
    TOGETHER,
    hits,
    judge,
    read_shop,
    recommender,
)

START = date(2024, 1, 1)
PRODUCTS = 40


def lines_of(baskets: list[list[int]], days: int = 100) -> pl.DataFrame:
    """Order lines as `basket_lines.sql` gives them, the orders spread over the days."""
    rows = [
        (f"o{i:06d}", START + timedelta(days=i * days // len(baskets)), f"p{product:03d}")
        for i, held in enumerate(baskets)
        for product in sorted(set(held))
    ]
    return pl.DataFrame(
        rows, schema={"order_id": pl.String, "order_date": pl.Date, "product_id": pl.String}, orient="row"
    )


def catalogue(categories: int = 4) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": [f"p{i:03d}" for i in range(PRODUCTS)],
            "name": [f"Product {i}" for i in range(PRODUCTS)],
            "category": [f"c{i % categories}" for i in range(PRODUCTS)],
        }
    )


def inputs_of(baskets: list[list[int]], least: int = 5) -> dict[str, pl.DataFrame]:
    names = catalogue()
    shop = pl.DataFrame({"min_pair_orders": [least]})
    return {"lines": lines_of(baskets), "products": names.drop("name"), "shop": shop, "names": names}


def habits(orders: int = 2500, seed: int = 0) -> list[list[int]]:
    """Whoever takes one of the first ten products mostly takes the one that is ten further; the rest is chance."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(orders):
        first = int(rng.integers(0, 10))
        held = [first, *([first + 10] if rng.random() < 0.5 else []), *rng.integers(20, PRODUCTS, rng.integers(0, 3))]
        found.append([int(product) for product in held])
    return found


def chance_only(orders: int = 2500, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.choice(PRODUCTS, rng.integers(1, 4), replace=False).tolist() for _ in range(orders)]


@pytest.fixture(scope="module")
def inputs() -> dict[str, pl.DataFrame]:
    return inputs_of(habits())


@pytest.fixture(scope="module")
def trained(inputs: dict[str, pl.DataFrame]) -> lifecycle.Trained:
    return lifecycle.train_frames(MODEL, inputs)


def test_habits_are_found_hold_later_and_recommend_better_than_best_sellers(
    trained: lifecycle.Trained, inputs: dict[str, pl.DataFrame]
) -> None:
    assert trained.card.promoted
    rate = trained.evaluation.comparisons[0]
    assert (rate.metric, rate.fold) == ("hit_rate_at_5", "2024-03-21")
    assert rate.interval_low is not None
    assert rate.interval_low > 0
    rows = MODEL.score(trained.fitted, inputs, RULES)
    pairs = {(json.loads(left)[0], right) for left, right in rows.select("antecedent", "consequent").iter_rows()}
    habit = {(f"p{i:03d}", f"p{i + 10:03d}") for i in range(10)}
    assert habit | {(b, a) for a, b in habit} <= pairs
    of_habit = rows.filter(pl.col("antecedent") == '["p000"]', pl.col("consequent") == "p010").row(0, named=True)
    assert of_habit["found_before"]
    assert of_habit["lift_later"] > 5
    assert of_habit["antecedent_names"] == "Product 0"
    assert of_habit["consequent_name"] == "Product 10"
    assert of_habit["confidence"] == of_habit["orders_together"] / of_habit["orders_with_antecedent"]


def test_counts_are_those_of_gold_product_affinity(trained: lifecycle.Trained, inputs: dict[str, pl.DataFrame]) -> None:
    catalog = read_catalog()
    sql = catalog.tables["gold.product_affinity"].sql
    assert sql is not None
    with duckdb.connect() as con:
        con.execute("create schema gold; create schema silver")
        for table in ("gold.fct_order_items", "gold.fct_orders", "gold.dim_product", "silver.shop"):
            con.execute(create_table_sql(catalog.contract(table)))
        con.register("lines", inputs["lines"].to_arrow())
        con.execute(
            "insert into gold.fct_order_items (order_id, product_id, is_valid, quantity) "
            "select order_id, product_id, true, 1 from lines;"
            "insert into gold.fct_orders (order_id, order_date, is_counted) select distinct order_id, order_date, true "
            "from lines; insert into silver.shop (min_pair_orders) values (5)"
        )
        affinity = con.sql(sql).pl()
        fetched = MODEL.inputs["lines"].fetch(con)
    orders = inputs["lines"].select("order_date", "order_id").unique().sort("order_date", "order_id")
    numbered = inputs["lines"].join(orders.with_row_index("number", offset=1), on=["order_date", "order_id"])
    assert set(fetched.rows()) == set(numbered.select(pl.col("number"), "order_date", "product_id").rows())
    assert fetched.height == numbered.height
    rules = MODEL.score(trained.fitted, inputs, RULES).filter(pl.col("antecedent_products") == 1)
    known = {
        frozenset((a, b)): counts
        for a, b, *counts in affinity.select(
            "product_id", "other_product_id", "orders_together", "orders", "lift"
        ).iter_rows()
    }
    for left, right, together, orders, lift in rules.select(
        "antecedent", "consequent", "orders_together", "orders", "lift"
    ).iter_rows():
        assert known[frozenset((json.loads(left)[0], right))] == [together, orders, pytest.approx(lift)]


def test_chance_recommends_nothing_and_the_baseline_ships() -> None:
    inputs = inputs_of(chance_only())
    done = lifecycle.train_frames(MODEL, inputs)
    assert not done.card.promoted
    shown = MODEL.score(done.fitted, inputs, TOGETHER)
    assert set(shown["basis"]) <= {"category", "bestseller"}
    assert done.published_as == f"baseline:{BASELINE}"


def test_every_product_of_the_catalogue_has_five_beside_it_and_the_reason(
    trained: lifecycle.Trained, inputs: dict[str, pl.DataFrame]
) -> None:
    new = pl.DataFrame({"product_id": ["new", "strange"], "name": ["New", "Strange"], "category": ["c1", None]})
    shown = MODEL.score(trained.fitted, {"names": pl.concat([inputs["names"], new])}, TOGETHER)
    assert shown.group_by("product_id").len()["len"].to_list() == [SHOWN] * (PRODUCTS + 2)
    assert shown.filter(pl.col("product_id") == pl.col("other_product_id")).is_empty()
    assert shown.select("product_id", "other_product_id").is_unique().all()
    first = shown.filter(pl.col("product_id") == "p003", pl.col("place") == 1).row(0, named=True)
    assert (first["other_product_id"], first["basis"], first["other_product_name"]) == ("p013", "rule", "Product 13")
    assert first["orders_together"] > 50
    of_new = shown.filter(pl.col("product_id") == "new")
    sold = inputs["lines"].join(inputs["names"], on="product_id").filter(pl.col("category") == "c1")
    best = sold.group_by("product_id").len().sort(["len", "product_id"], descending=[True, False])["product_id"][:SHOWN]
    assert of_new["basis"].to_list() == ["category"] * SHOWN
    assert of_new["other_product_id"].to_list() == best.to_list()
    assert set(shown.filter(pl.col("product_id") == "strange")["basis"]) == {"bestseller"}


def test_hits_are_counted_as_one_by_one() -> None:
    inputs = inputs_of(habits(300, seed=3))
    shop = read_shop(inputs["lines"], inputs["products"], 5)
    recommend = recommender(shop, judge(shop, 1).carry[1])
    found, asked = hits(recommend, shop)
    truth = []
    for held in habits(300, seed=3):
        if len(set(held)) > 1:
            beside = {p: {other for other, _ in recommend.beside(p, int(shop.category[p]))} for p in set(held)}
            truth.append((sum(bool(beside[p] & set(held)) for p in set(held)), len(set(held))))
    assert list(zip(found, asked, strict=True)) == truth


def test_later_orders_change_no_rule_that_is_judged() -> None:
    inputs = inputs_of(habits())
    cut = date(2024, 3, 21)
    shop = read_shop(inputs["lines"], inputs["products"], 5)
    other = inputs["lines"].with_columns(
        product_id=pl.when(pl.col("order_date") >= cut).then(pl.lit("p000")).otherwise("product_id")
    )
    changed = read_shop(other.unique(maintain_order=True), inputs["products"], 5)
    assert judge(shop, 1).carry[1] == judge(changed, 1).carry[1] != []


def test_a_file_of_products_is_answered_row_by_row(trained: lifecycle.Trained) -> None:
    rows = pl.DataFrame({"product_id": ["p003", "unknown", "p003"], "category": [None, "c2", None]})
    again = MODEL.from_state(json.loads(json.dumps(MODEL.to_state(trained.fitted))))
    found = MODEL.predict(again, rows)
    assert found["product_id"].to_list() == ["p003", "unknown", "p003"]
    assert found["beside_1"][0] == found["beside_1"][2] == "p013"
    assert found["basis"].to_list() == ["rule", "category", "rule"]
    assert MODEL.to_state(again) == MODEL.to_state(trained.fitted)


@pytest.mark.parametrize("baskets", [[], [[1]], [[1, 2]] * 20])
def test_a_shop_with_hardly_an_order_gets_best_sellers_and_the_reason(baskets: list[list[int]]) -> None:
    inputs = inputs_of(baskets)
    done = lifecycle.train_frames(MODEL, inputs)
    assert not done.card.promoted
    assert done.card.metrics["not_evaluated"]
    assert MODEL.score(done.fitted, inputs, RULES).is_empty() or len(baskets) == 20
    shown = MODEL.score(done.fitted, inputs, TOGETHER)
    assert shown.height == {0: 0, 1: PRODUCTS - 1}.get(len(baskets), 2 * PRODUCTS - 2)


def test_what_was_counted_and_with_which_minimum_is_said(trained: lifecycle.Trained) -> None:
    metrics = trained.card.metrics
    assert metrics["min_orders_of_a_pair"] == 5
    assert metrics["min_orders_of_a_longer_set"] == 5
    assert metrics["memory_budget_raised_it"] is False
    assert metrics["min_support"] == 5 / 2500
    assert METHOD in trained.published_as
    shown = next(exhibit for exhibit in trained.exhibits if exhibit.title == "The surest rules")
    assert shown.rows[0][3] == max(rule["confidence"] for rule in trained.fitted.rules)
    assert "of 2,500 orders" in shown.text
