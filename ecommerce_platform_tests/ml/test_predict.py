"""`predict`: a file is scored exactly as training scored the table, or the error says what is wrong where."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.errors import InputError
from ecommerce_platform.ml.artifacts import Card
from ecommerce_platform.ml.columns import Rule
from ecommerce_platform.ml.lifecycle import keep, signed, train_frames
from ecommerce_platform.ml.models import find_model
from ecommerce_platform.ml.predict import predict_file, read_rows
from ecommerce_platform.ml.rfm import split_orders
from ecommerce_platform.ml.segments import MODEL, score_segments
from ecommerce_platform_tests.ml.shop import NO_GROUPS, noise_orders, planted_orders

HEADER = "person_id,recency_days,frequency,monetary\n"


@pytest.fixture(scope="module", params=["model", "baseline"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Card, pl.DataFrame, pl.DataFrame]:
    """Models folder, card, persons and the labels that training gave them, for either kind of winner."""
    orders = planted_orders()[0] if request.param == "model" else noise_orders()
    later = split_orders(orders)
    assert later is not None
    fitted = train_frames(MODEL, {"persons": later.after, "orders": orders, "groups": NO_GROUPS}, seed=3)
    assert fitted.card.promoted == (request.param == "model")
    folder = tmp_path_factory.mktemp("models")
    card = keep(folder, fitted)
    return folder, card, later.after, signed(score_segments(fitted.fitted, later.after), card)


@pytest.mark.parametrize("kind", ["csv", "semicolons.csv", "csv.gz", "parquet", "doubles.parquet", "jsonl"])
def test_a_file_gets_exactly_the_labels_of_training(
    kind: str, trained: tuple[Path, Card, pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    folder, card, persons, labels = trained
    file = tmp_path / f"persons.{kind}"
    match kind:
        case "csv":
            persons.write_csv(file, include_bom=True)
        case "semicolons.csv":
            persons.select(pl.lit("x").alias("other"), pl.all().reverse().reverse()).write_csv(
                file, separator=";", line_terminator="\r\n"
            )
        case "csv.gz":
            file.write_bytes(gzip.compress(persons.write_csv().encode()))
        case "parquet":
            persons.write_parquet(file)
        case "doubles.parquet":  # as pandas would hand it on
            persons.with_columns(pl.col("^[rfm].*$").cast(pl.Float64)).write_parquet(file)
        case "jsonl":
            persons.with_columns(pl.col("monetary").cast(pl.Float64)).write_ndjson(file)
    row = {"version": card.version, "sha256": card.sha256}
    assert predict_file(folder, MODEL, row, file).equals(labels)
    assert predict_file(folder, MODEL, card.version, file).equals(labels)


def test_amounts_survive_the_text_to_the_last_digit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cents = pl.Series(rng.integers(-(10**9), 10**12, 20_000)).cast(pl.String)
    amounts = cents.str.replace(r"(\d{2})$", ".$1").cast(pl.Decimal(18, 4))
    frame = pl.DataFrame({"person_id": cents, "recency_days": 1, "frequency": 1, "monetary": amounts})
    file = tmp_path / "x.csv"
    frame.write_csv(file)
    assert read_rows(file, MODEL.columns)["monetary"].equals(amounts)
    frame.with_columns(pl.col("monetary").cast(pl.Float64)).write_parquet(tmp_path / "x.parquet")
    assert read_rows(tmp_path / "x.parquet", MODEL.columns)["monetary"].equals(amounts)


def test_ids_stay_text_and_numbers_may_look_like_those_of_a_spreadsheet(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(HEADER + '007,12.0, 3 ,1e3\n"a, b ",1,1,-0.5\n')
    assert [(*row[:3], str(row[3])) for row in read_rows(file, MODEL.columns).rows()] == [
        ("007", 12, 3, "1000.0000"),
        ("a, b ", 1, 1, "-0.5000"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "person_id,recency_days\n1,2\n", ["frequency, monetary are missing", "a.csv"]),
        ("a.csv", HEADER + "a,1,1,5\nb,x,1,5\n", ["record 2, column recency_days", "'x' is not a whole"]),
        ("a.csv", HEADER + "a,1,1,5\nb,0,1,5\n", ["record 2, column recency_days", "at least 1"]),
        ("a.csv", HEADER + "a,1,1.5,5\n", ["record 1, column frequency", "'1.5'"]),
        (
            "a.csv",
            HEADER + "a,1,1,\nb,1,1,\n",
            ["record 1, column monetary", "value is missing (and 1 more", "1234.50"],
        ),
        ("a.csv", HEADER + "a,1,1,nan\n", ["record 1, column monetary", "'nan'"]),
        ("a.csv", HEADER + "a,1,1,99999999999999999\n", ["record 1, column monetary"]),
        ("a.csv", HEADER.replace(",", ";") + "a;1;1;12,50\n", ["'12,50' is not an amount", "with a point"]),
        ("a.csv", HEADER + "a,1,1,5\nb,1,1,12,50\n", ["line 3", "5 values", "with a point"]),
        ("a.csv", HEADER + ",1,1,5\n", ["record 1, column person_id", "value is missing"]),
        ("a.csv", HEADER + "a\n", ["record 1, column recency_days", "value is missing"]),
        ("a.csv", "", ["the file is empty"]),
        ("a.csv", b"\xff\xfe\x00\x01", ["cannot be read as csv"]),
        ("a.csv.gz", b"\x1f\x8b\x08\x00trunc", ["cannot be read as csv"]),
        ("a.parquet", "PAR1nonsense", ["cannot be read as parquet"]),
        ("a.jsonl", '{"person_id": "a"}\n', ["recency_days, frequency, monetary are missing"]),
        ("a.jsonl", '{"person_id": "a"\n', ["line 1", "not a JSON object"]),
        ("a.json", "[1, 2]\n", ["line 1", "not an object"]),
        (
            "a.jsonl",
            '{"person_id":"a","recency_days":1,"frequency":1,"monetary":1}\n'
            '{"person_id":"b","recency_days":true,"frequency":1,"monetary":1}\n',
            ["line 2, column recency_days", "'true'"],
        ),
        ("a.xlsx", "x", ["name does not say", ".csv"]),
        ("none.csv", None, ["no such file"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    name: str, content: str | bytes | None, said: list[str], tmp_path: Path
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as error:
        read_rows(file, MODEL.columns)
    for part in (name, *said, "→"):
        assert part in str(error.value)


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"use one of: .*segments"):
        find_model(read_catalog(), "horoscope")


def test_columns_have_rules_of_their_own(tmp_path: Path) -> None:
    columns = {
        "share": Rule("number", at_least=0, at_most=1),
        "region": Rule("text", choices=("north", "south")),
        "since": Rule("day", optional=True),
    }
    file = tmp_path / "x.csv"
    file.write_text("share,region,since\n0.25,north,2026-01-31\n1,south,\n")
    assert read_rows(file, columns).rows() == [(0.25, "north", date(2026, 1, 31)), (1.0, "south", None)]
    file.write_text("share,region\n0.25,north\n")
    assert read_rows(file, columns).rows() == [(0.25, "north", None)]
    for line, said in (
        ("1.5,north,", "'1.5' is not a number from 0 to 1"),
        ("1,east,", "'east' is not one of north, south"),
        ("1,north,31.1.2026", "'31.1.2026' is not a day"),
    ):
        file.write_text(f"share,region,since\n{line}\n")
        with pytest.raises(InputError, match=said):
            read_rows(file, columns)
