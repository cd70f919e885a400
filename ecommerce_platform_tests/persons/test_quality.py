"""How many persons are found, and how many strangers taken for one: the package's parameters, on records whose truth is
known. Parameters and threshold were fixed on other records (another seed) than are judged here."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.source import IdentityRules
from ecommerce_platform.ml.evaluation import b_cubed, pair_scores
from ecommerce_platform.persons import identity
from ecommerce_platform.persons.people import build_persons
from ecommerce_platform.persons.training import train_identity
from ecommerce_platform.simulation.records import make_records

DEFAULT = identity.default_identity()
THRESHOLD = IdentityRules().threshold


def as_customers(made: pl.DataFrame) -> pl.DataFrame:
    """The records as rows of silver.customers, as far as linking reads them: columns that they lack are null."""
    types: dict[str, Any] = {**dict.fromkeys(identity.COLUMNS, pl.String), "birth_date": pl.Date}
    named = made.rename({"customer_no": "customer_id"}, strict=False)
    lacking = {name: pl.lit(None, kind) for name, kind in types.items() if name not in named.columns}
    return named.with_columns(**lacking).select(identity.COLUMNS).cast(pl.Schema(types))


def comparable_records(con: duckdb.DuckDBPyConnection, made: pl.DataFrame) -> pl.DataFrame:
    con.register("raw", as_customers(made).to_arrow())
    return con.sql(f"{identity.records_select('raw')} order by customer_id").pl()


def judged(seed: int, persons: int, parameters: identity.Parameters = DEFAULT.parameters) -> dict[str, float]:
    """How right the persons among generated records are (`judged_records`)."""
    return judged_records(make_records(seed, persons).rename({"customer_no": "customer_id"}), parameters)


def judged_records(made: pl.DataFrame, parameters: identity.Parameters = DEFAULT.parameters) -> dict[str, float]:
    """Precision and recall over pairs of records, and B³, of the persons found among records with their true `person`."""
    with duckdb.connect(config={"memory_limit": "2GB", "threads": 2}) as con:
        records = comparable_records(con, made)
        links = identity.score(con, parameters, records, THRESHOLD)
        con.register("comparable", records.to_arrow())

        def conflicts(pairs: pl.DataFrame) -> pl.DataFrame:
            con.register("pairs", pairs.to_arrow())
            return con.sql(identity.conflicts_select("pairs", "comparable")).pl()

        no_keys = pl.DataFrame(schema={"customer_id": pl.String, "person_key": pl.String})
        found = build_persons(links, no_keys, conflicts)
    both = made.select("customer_id", "person").join(found, on="customer_id", how="left")
    person = numbered(both.select(pl.coalesce("person_id", "customer_id")).to_series())
    precision, recall = pair_scores(person, numbered(both["person"]))
    b_precision, b_recall, b_f = b_cubed(person, numbered(both["person"]))
    return {"precision": precision, "recall": recall, "b3_precision": b_precision, "b3_recall": b_recall, "b3_f": b_f}


def numbered(values: pl.Series) -> np.ndarray:
    return values.rank("dense").to_numpy().astype(np.int64) - 1


def test_twenty_thousand_records_of_three_systems() -> None:
    assert DEFAULT.card.seed != 11
    found = judged(11, 12_000)
    assert found["precision"] >= 0.999, found
    assert found["recall"] >= 0.97, found
    assert found["b3_precision"] >= 0.999, found
    assert found["b3_recall"] >= 0.98, found


@pytest.mark.long
@pytest.mark.parametrize("seed", [21, 22, 23, 24, 25])
def test_other_shops(seed: int) -> None:
    found = judged(seed, 60_000)
    assert found["precision"] >= 0.999, found
    assert found["recall"] >= 0.97, found


@pytest.mark.long
def test_parameters_trained_on_one_shop_serve_others() -> None:
    with duckdb.connect() as con:
        trained = train_identity(con, comparable_records(con, make_records(31, 30_000)), seed=1)
    for seed in (32, 33, 34):
        found = judged(seed, 60_000, trained.parameters)
        assert found["precision"] >= 0.999, found
        assert found["recall"] >= 0.97, found


def test_b_cubed_is_the_mean_over_records() -> None:
    # Two true persons {0, 1, 2} and {3}; found {0, 1} and {2, 3}.
    found, true = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    precision, recall, f = b_cubed(found, true)
    assert precision == pytest.approx((1 + 1 + 1 / 2 + 1 / 2) / 4)
    assert recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert f == pytest.approx(2 * precision * recall / (precision + recall))
    assert pair_scores(found, true) == (1 / 2, 1 / 3)
    assert pair_scores(np.arange(4), true) == (1.0, 0.0)
