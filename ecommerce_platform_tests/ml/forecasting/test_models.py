"""Both models through the lifecycle: what they fill, what is kept, and what a file is told."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.ml.forecasting import demand, frames, revenue
from ecommerce_platform.ml.lifecycle import Model, Trained, train_frames
from ecommerce_platform_tests.ml.forecasting import shop

DAYS = 400
LAST = shop.FIRST_DAY + timedelta(days=DAYS - 1)
MODELS = {model.name: model for model in (revenue.MODEL, demand.MODEL)}


@pytest.fixture(scope="module")
def inputs() -> dict[str, pl.DataFrame]:
    return shop.frames(DAYS)


def train(model: Model, inputs: dict[str, pl.DataFrame]) -> Trained:
    return train_frames(model, {name: inputs[name] for name in model.trained_on})


@pytest.fixture(scope="module")
def trained(inputs: dict[str, pl.DataFrame]) -> dict[str, Trained]:
    return {name: train(model, inputs) for name, model in MODELS.items()}


def scored(model: Model, fitted: object, inputs: dict[str, pl.DataFrame], table: str) -> pl.DataFrame:
    return model.score(fitted, {name: inputs[name] for name in model.scored_on[table]}, table)


TABLES = [(model.name, table) for model in MODELS.values() for table in model.scored_on]


@pytest.mark.parametrize("name", MODELS)
def test_a_shop_with_a_wandering_level_is_won_and_says_how(name: str, trained: dict[str, Trained]) -> None:
    card = trained[name].card
    assert card.promoted
    assert card.baseline == "seasonal_naive"
    (decides,) = [c for c in trained[name].evaluation.comparisons if c.decides]
    assert decides.baseline_value == pytest.approx(1)
    assert decides.value < 0.95
    assert {v["series"] for v in card.metrics["verdicts"]} == {"total", "garden", "kitchen", "toys"}
    assert card.metrics["diagnoses"][0]["season_strength"] > 0.5


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_scores_have_the_columns_of_their_contract(
    name: str, table: str, trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]
) -> None:
    found = scored(MODELS[name], trained[name].fitted, inputs, table)
    contract = read_catalog().contract(table)
    assert {*found.columns, "model", "model_version"} == set(contract.columns)
    assert found.select(contract.key).is_unique().all()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_is_loaded_again_scores_the_same(
    name: str, trained: dict[str, Trained], inputs: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    card = lifecycle.keep(tmp_path, trained[name])
    fitted, _ = lifecycle.load(tmp_path, MODELS[name], card.version, sha256=card.sha256)
    for table in MODELS[name].scored_on:
        assert scored(MODELS[name], fitted, inputs, table).equals(
            scored(MODELS[name], trained[name].fitted, inputs, table)
        )


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_rows_and_a_second_training_change_nothing(
    name: str, trained: dict[str, Trained], inputs: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    again = train(MODELS[name], {n: frame.sample(fraction=1, shuffle=True, seed=4) for n, frame in inputs.items()})
    kept = [lifecycle.keep(tmp_path / str(number), one) for number, one in enumerate((trained[name], again))]
    assert kept[0].sha256 == kept[1].sha256


def test_revenue_ahead_and_revenue_of_backtests(trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]) -> None:
    found = scored(revenue.MODEL, trained["revenue_forecast"].fitted, inputs, revenue.TABLE)
    ahead = found.filter(~pl.col("is_backtest"))
    assert ahead["forecast_date"].min() == LAST + timedelta(days=1)
    assert ahead["forecast_date"].max() == LAST + timedelta(days=28)
    assert set(ahead.filter(pl.col("measure") == "orders")["series"]) == {"total"}
    past = found.filter("is_backtest").join(inputs["days"], left_on="forecast_date", right_on="order_date")
    total = past.filter((pl.col("measure") == "revenue") & (pl.col("level") == "total"))
    assert total.height == 84
    assert total["actual"].to_numpy() == pytest.approx(total["revenue"].to_numpy())
    inside = total.select((pl.col("actual") >= pl.col("low_90")) & (pl.col("actual") <= pl.col("high_90")))
    assert inside.to_series().mean() > 0.7


def test_categories_add_up_on_every_day(trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]) -> None:
    for name, table in (("revenue_forecast", revenue.TABLE), ("demand_forecast", demand.FORECAST)):
        found = scored(MODELS[name], trained[name].fitted, inputs, table).filter(pl.col("measure") != "orders")
        by_day = found.filter(pl.col("level") != "product").group_by("origin_date", "forecast_date", "level")
        sums = by_day.agg(pl.col("forecast").sum()).pivot(
            "level", index=["origin_date", "forecast_date"], values="forecast"
        )
        assert sums.height == 28 * 4
        assert sums["total"].to_numpy() == pytest.approx(sums["category"].to_numpy())


def test_products_are_forecast_by_week_and_their_empty_weeks_are_not_known(
    trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]
) -> None:
    found = scored(demand.MODEL, trained["demand_forecast"].fitted, inputs, demand.FORECAST)
    ahead = found.filter((pl.col("level") == "product") & ~pl.col("is_backtest"))
    assert ahead["forecast_date"].unique().sort().to_list() == [
        LAST + timedelta(days=1 + 7 * week) for week in range(4)
    ]
    often = ahead.filter(pl.col("series") < "p015")["forecast"]
    recent = inputs["sales"].filter(pl.col("order_date") > LAST - timedelta(days=28), pl.col("product_id") < "p015")
    assert often.sum() == pytest.approx(recent["units"].sum(), rel=0.25)


def test_units_needed_grow_with_the_lead_time(trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]) -> None:
    found = scored(demand.MODEL, trained["demand_forecast"].fitted, inputs, demand.NEEDED).sort("lead_time_days")
    assert found["product_id"].to_list() == ["p001", "p000", "p029"]
    assert found["weeks"].to_list() == [1, 2, 4]
    per_week = (found["units_p90"] / found["weeks"]).to_list()
    assert per_week[1] < per_week[0]
    assert (found["units_p50"] <= found["units_p99"]).all()
    assert found["known_week_share"].to_list()[1] < 1


def test_later_days_are_forecast_without_another_training(trained: dict[str, Trained]) -> None:
    longer = shop.frames(DAYS + 14)
    found = scored(revenue.MODEL, trained["revenue_forecast"].fitted, longer, revenue.TABLE)
    assert found.filter(~pl.col("is_backtest"))["origin_date"].unique().to_list() == [LAST + timedelta(days=14)]


def test_a_shop_of_a_few_weeks_gets_the_naive_forecast_and_says_why() -> None:
    few = shop.frames(60)
    for name, model in MODELS.items():
        found = train(model, few)
        assert not found.card.promoted
        assert "112" in str(found.card.metrics["not_evaluated"])
        for table in model.scored_on:
            rows = scored(model, found.fitted, few, table)
            if table != demand.NEEDED:
                assert rows.height > 0, name
                assert rows["low_90"].null_count() == rows.height


def test_a_shop_of_less_than_a_week_has_no_weeks_to_forecast_products_by() -> None:
    inputs = shop.frames(4)
    trained = train(demand.MODEL, inputs)
    assert not trained.card.promoted
    for table in demand.MODEL.scored_on:
        rows = scored(demand.MODEL, trained.fitted, inputs, table)
        assert "product" not in set(rows["level"]) if "level" in rows.columns else rows.is_empty()


def test_a_shop_without_orders_has_no_rows() -> None:
    none = {name: frame.clear() for name, frame in shop.frames(10).items()}
    for model in MODELS.values():
        found = train(model, none)
        assert not found.card.promoted
        for table in model.scored_on:
            assert scored(model, found.fitted, none, table).height == 0


def test_partial_last_days_are_left_out(inputs: dict[str, pl.DataFrame]) -> None:
    cut = inputs["days"].with_columns(pl.when(pl.col("order_date") < LAST).then("orders").otherwise(1).alias("orders"))
    within = frames.window(cut)
    assert within is not None
    assert (within.last, within.left_out) == (LAST - timedelta(days=1), 1)


def ask(*rows: tuple[str, str, date]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"measure": pl.String, "series": pl.String, "forecast_date": pl.Date}, orient="row"
    )


def test_a_file_is_told_what_the_table_says(trained: dict[str, Trained], inputs: dict[str, pl.DataFrame]) -> None:
    fitted = trained["revenue_forecast"].fitted
    found = revenue.MODEL.predict(
        fitted, ask(("orders", "total", LAST + timedelta(days=2)), ("revenue", "toys", LAST + timedelta(days=28)))
    )
    table = scored(revenue.MODEL, fitted, inputs, revenue.TABLE).filter(~pl.col("is_backtest"))
    both = found.join(table, on=["measure", "series", "forecast_date"], suffix="_of_table")
    assert both.height == 2
    assert both["forecast"].to_numpy() == pytest.approx(both["forecast_of_table"].to_numpy())
    assert both["high_90"].to_numpy() == pytest.approx(both["high_90_of_table"].to_numpy())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("revenue", "shoes", LAST + timedelta(days=1)), "'shoes' is no series of revenue"),
        (("orders", "toys", LAST + timedelta(days=1)), "'toys' is no series of orders"),
        (("revenue", "total", LAST), "is not among the days forecast"),
        (("revenue", "total", LAST + timedelta(days=29)), "is not among the days forecast"),
    ],
)
def test_a_file_that_asks_for_what_is_not_forecast_is_refused(
    row: tuple[str, str, date], words: str, trained: dict[str, Trained]
) -> None:
    with pytest.raises(InputError, match=words):
        revenue.MODEL.predict(trained["revenue_forecast"].fitted, ask(row))


def test_small_categories_are_one_series() -> None:
    days = shop.frames(30)["days"]
    many = pl.concat(
        [
            days.select(
                "order_date", pl.lit(f"c{i:02d}").alias("category"), (pl.col("revenue") / (i + 1)).alias("revenue")
            )
            for i in range(25)
        ]
    )
    within = frames.window(days)
    assert within is not None
    found = frames.panel("revenue", days, within, many)
    names = [part.name for part in found.parts]
    assert len(names) == 21
    assert frames.OTHERS in names
    assert "c24" not in names
    assert found.total.values == pytest.approx(np.sum([part.values for part in found.parts], axis=0))
