"""Commands about models: train, list, pin, take back, and score a file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from ecommerce_platform.cli import app
from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.lifecycle import Place
from ecommerce_platform.ml.rfm import rfm_as_of
from ecommerce_platform.orchestration.resources import open_warehouse
from ecommerce_platform.persons.links import current_linking
from ecommerce_platform.settings import read_settings
from ecommerce_platform.warehouse.registry import all_versions, current_version
from ecommerce_platform_tests.ml.shelf import set_orders
from ecommerce_platform_tests.ml.shop import planted_orders

ORDERS = planted_orders(40)[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ECOMMERCE_SOURCE", "synthetic")
    monkeypatch.setenv("COLUMNS", "250")
    settings = read_settings()
    there = Place(open_warehouse(settings).connect, settings.models, read_catalog())
    set_orders(there, ORDERS)
    return there


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    if result.exception:
        raise result.exception
    return result.stdout.strip()


def version(place: Place) -> str:
    with place.connect() as con:
        return str(current_version(con, "segments")["version"])


def test_versions_are_trained_listed_pinned_and_taken_back(place: Place) -> None:
    assert "nothing" not in run("train", "segments")
    first = version(place)
    assert run("train", "segments").startswith("nothing that segments is trained on has changed")
    set_orders(place, ORDERS.with_columns(pl.col("order_date") + timedelta(days=9)))
    said, second = run("train", "segments"), version(place)
    assert f"trained segments {second}: kmeans_rfm is what scores say" in said
    listed = {line.split()[3]: line for line in run("models").splitlines() if "│ segments" in line}
    assert " yes " in listed[second]
    assert " yes " not in listed[first]
    assert "kmeans_rfm is published: it beat the baseline rfm_score_terciles." in listed[first]
    assert run("models", "rollback", "segments").startswith(f"segments {first} is in force, pinned")
    assert version(place) == first
    assert "pinned" in next(line for line in run("models").splitlines() if first in line)
    set_orders(place, ORDERS.with_columns(pl.col("order_date") + timedelta(days=18)))
    assert f"{first} is pinned and stays in force" in run("train", "segments", "--full")
    assert version(place) == first
    run("models", "promote", "segments")
    assert version(place) not in {first, second}  # two of one second differ by their hash alone
    with pytest.raises(InputError, match="there is no model 'horoscope'"):
        run("models", "promote", "horoscope")


def test_a_file_is_scored_by_the_version_in_force(place: Place, tmp_path: Path) -> None:
    run("train", "segments")
    file, scored = tmp_path / "persons.csv", tmp_path / "scored.parquet"
    persons = rfm_as_of(ORDERS, max(ORDERS["order_date"].to_list()) + timedelta(days=1))
    persons.write_csv(file)
    assert f"scored 120 rows with segments {version(place)}" in run(
        "predict", "segments", "--input", str(file), "--output", str(scored)
    )
    assert set(pl.read_parquet(scored)["model_version"]) == {version(place)}
    with pytest.raises(InputError, match="has not been trained"):
        run("predict", "behaviour_segments", "--input", str(file))


def test_records_of_a_file_that_are_one_person_s_are_found(place: Place, tmp_path: Path) -> None:
    current_linking(place, 0.99)  # registers the parameters that come with the package
    file = tmp_path / "customers.csv"
    file.write_text(
        "customer_id,full_name,email,phone,birth_date,postal_code\n"
        "web-1,Anna Müller,anna.mueller@example.org,0301234567,1980-05-17,10115\n"
        'shop-9,"Mueller, Anna",anna.mueller@example.org,+49 30 1234567,1980-05-17,10115\n'
        "web-2,Jonas Weber,jonas@example.org,0409876543,1975-01-02,20095\n"
    )
    (row,) = pl.read_csv(run("predict", "identity", "--input", str(file)).encode()).to_dicts()
    assert (row["customer_id_1"], row["customer_id_2"]) == ("shop-9", "web-1")
    assert row["match_probability"] > 0.99
    with place.connect() as con:
        assert row["model_version"] == all_versions(con, "identity")[0]["version"]
    file.write_text("customer_id,full_name\nx,Anna\nx,Jonas\n")
    with pytest.raises(InputError, match="'x' occurs twice"):
        run("predict", "identity", "--input", str(file))
    file.write_text("customer_id,birth_date\nx,17.5.1980\n")
    with pytest.raises(InputError, match=r"record 1, column birth_date: '17.5.1980' is not a day"):
        run("predict", "identity", "--input", str(file))
