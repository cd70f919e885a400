"""Customer records of several systems: one person in many guises, and what their likeness may not hide."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from ecommerce_platform.simulation.places import Places, make_places
from ecommerce_platform.simulation.randomness import stream
from ecommerce_platform.simulation.records import (
    FIRST_NAMES,
    NEVER,
    SYSTEMS,
    Persons,
    SignUps,
    make_persons,
    make_records,
    make_sign_ups,
    write_records,
)
from ecommerce_platform.simulation.seasons import SECONDS

SIZE, LAST = 8000, 730 * SECONDS


@pytest.fixture(scope="module")
def places() -> Places:
    return make_places(stream(3, "places"))


@pytest.fixture(scope="module")
def persons(places: Places) -> Persons:
    return make_persons(3, places, SIZE, start=date(2024, 1, 1), first=0, last=LAST)


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    return make_records(3, SIZE)


def test_the_same_arguments_write_the_same_records(records: pl.DataFrame) -> None:
    assert make_records(3, SIZE).equals(records)
    assert not make_records(4, SIZE).equals(records)


def test_everybody_has_a_record_and_many_have_several(records: pl.DataFrame) -> None:
    per_person = records.group_by("person").len()
    assert per_person.height == SIZE
    assert 0.35 < (per_person["len"] > 1).mean() < 0.6
    assert records.select("system", "record").is_unique().all()
    assert records["customer_no"].is_unique().all()


def test_systems_write_in_their_own_formats(records: pl.DataFrame) -> None:
    crm, shop, mail = (records.filter(system=name) for name in ("crm", "web_shop", "newsletter"))
    assert crm["full_name"].str.contains(r"^[A-Z -]+, [A-Z -.]+$").mean() > 0.98
    assert not crm["full_name"].str.contains("[ÄÖÜ]").any()
    assert shop["full_name"].str.contains("[äöü]").any()
    assert crm["phone"].drop_nulls().str.contains(r"^0\d+/\d+$").all()
    assert shop["phone"].drop_nulls().str.contains(r"^\+49 \d+ \d+$").all()
    assert mail["phone"].drop_nulls().str.contains(r"^0049\d+ \d+-\d+-\d+$").all()
    assert mail["phone"].null_count() > 0.7 * mail.height


def test_few_persons_have_records_with_nothing_identifying_in_common(records: pl.DataFrame) -> None:
    """At most one in a hundred has a record that shares no address for mail, phone number or birth date with others."""
    several = records.filter(pl.len().over("person") > 1)
    keyed = several.select(
        "person",
        "customer_no",
        pl.col("email").str.to_lowercase(),
        pl.col("phone").str.replace_all(r"\D", "").str.slice(-7),
        pl.col("birth_date").cast(pl.String),
    )
    shares = pl.lit(False)
    for name in ("email", "phone", "birth_date"):
        shares = shares | (pl.col(name).is_not_null() & (pl.len().over("person", name) > 1))
    alone = keyed.filter(~shares)
    assert 0 < alone["person"].n_unique() < 0.01 * SIZE


def test_people_are_alike_who_are_not_the_same(persons: Persons, records: pl.DataFrame) -> None:
    by_email = records.drop_nulls("email").group_by("email").agg(pl.col("person").n_unique())
    assert (by_email["person"] > 1).sum() > 20  # families, and addresses that somebody else has now
    frame = pl.DataFrame(
        {
            "household": persons.household,
            "first": persons.first_name,
            "last": persons.last_name,
            "born": persons.birth_date,
        }
    )
    twins = frame.filter(pl.len().over("household", "last", "born") > 1)
    namesakes = frame.filter(pl.len().over("household", "first", "last") > 1)
    assert twins.height >= 10
    assert twins.filter(pl.len().over("household", "first", "born") > 1).height <= 0.1 * twins.height
    assert namesakes.height >= 10
    common = frame.group_by("first", "last").len()
    assert common["len"].max() > 3  # type: ignore[operator]


def test_a_record_read_later_differs_by_what_happened_since(places: Places, persons: Persons) -> None:
    sign_ups = make_sign_ups(3, SIZE, first=0, last=LAST)["web_shop"]
    system = SYSTEMS["web_shop"]
    then = write_records(3, system, persons, places, sign_ups)
    later = write_records(3, system, persons, places, sign_ups, np.full(len(sign_ups.person), LAST))
    who, at = sign_ups.person, sign_ups.registered

    def happened(moment: np.ndarray) -> np.ndarray:
        return (moment[who] != NEVER) & (moment[who] > at)

    moved = (then["postal_code"] != later["postal_code"]).to_numpy()
    assert moved.any()
    assert (moved <= happened(persons.moved)).all()
    assert ((then["full_name"] != later["full_name"]).to_numpy() <= happened(persons.renamed)).all()
    assert ((then["email"] != later["email"]).to_numpy() <= happened(persons.email_changed)).all()
    assert then["birth_date"].equals(later["birth_date"], null_equal=True)


def test_most_records_name_the_person_they_are_about(places: Places, persons: Persons) -> None:
    sign_ups = SignUps("web_shop", np.arange(SIZE), np.zeros(SIZE, dtype=np.int64))
    frame = write_records(3, SYSTEMS["web_shop"], persons, places, sign_ups)
    first = pl.Series(FIRST_NAMES).gather(persons.first_name).str.to_lowercase()
    named = frame["full_name"].str.to_lowercase().str.contains(first, literal=True)
    assert 0.95 < named.mean() < 0.99
