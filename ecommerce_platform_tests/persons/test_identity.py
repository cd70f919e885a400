"""Record linkage piece by piece: what makes records comparable, who is compared, what a person is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.ml import artifacts
from ecommerce_platform.persons import identity, training
from ecommerce_platform.persons.people import build_persons
from ecommerce_platform.simulation.records import make_records
from ecommerce_platform_tests.persons.test_quality import THRESHOLD, as_customers, comparable_records

DEFAULT = identity.default_identity().parameters
ANNA: dict[str, Any] = {
    "full_name": "Anna Müller",
    "email": "anna.mueller@example.com",
    "phone": "+49 1555 1234567",
    "birth_date": date(1985, 3, 7),
    "postal_code": "10115",
}
_TYPES: dict[str, Any] = {**dict.fromkeys(identity.COLUMNS, pl.String), "birth_date": pl.Date}


def comparable(*rows: dict[str, Any]) -> pl.DataFrame:
    """The comparable records r0, r1 … of customers that are Anna but for what is given."""
    frame = pl.DataFrame([{"customer_id": f"r{i}", **ANNA, **row} for i, row in enumerate(rows)], schema=_TYPES)
    with duckdb.connect() as con:
        return comparable_records(con, frame)


def linked(*rows: dict[str, Any], threshold: float = THRESHOLD) -> set[tuple[str, str]]:
    with duckdb.connect() as con:
        links = identity.score(con, DEFAULT, comparable(*rows), threshold)
    return set(links.select("customer_id_1", "customer_id_2").rows())


def contradict(one: dict[str, Any], other: dict[str, Any]) -> bool:
    records, pairs = comparable(one, other), pl.DataFrame({"l": ["r0"], "r": ["r1"]})
    with duckdb.connect() as con:
        con.register("records", records.to_arrow())
        con.register("pairs", pairs.to_arrow())
        return bool(con.execute(identity.conflicts_select("pairs", "records")).fetchall())


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("Anna Müller", "anna", "mueller"),
        ("MUELLER, ANNA", "anna", "mueller"),
        ("Müller, Dr. Anna Maria", "anna", "mueller"),
        ("  frau anna   müller ", "anna", "mueller"),
        ("Prof. Dr. Anna Müller-Groß", "anna", "mueller-gross"),
        ("A. Müller", "a", "mueller"),
        ("Ayşe Yıldız", "ayse", "yildiz"),
        ("Анна Иванова", "анна", "иванова"),
        ("Anna", "anna", None),
        ("", None, None),
        ("-", None, None),
        (None, None, None),
    ],
)
def test_names_are_compared_without_their_spelling(written: str | None, first: str | None, last: str | None) -> None:
    found = comparable({"full_name": written}).row(0, named=True)
    assert (found["first_name"], found["last_name"]) == (first, last)


@pytest.mark.parametrize(
    ("column", "written", "expected"),
    [
        ("phone", "+49 1555 1234567", "51234567"),
        ("phone", "01555/1234567", "51234567"),
        ("phone", "0049155512-34-567", "51234567"),
        ("phone", "030 123456", "30123456"),
        ("phone", "000000000", None),
        ("phone", "12345", None),
        ("email", " Anna.Mueller@Example.COM ", "anna.mueller@example.com"),
        ("email", "none", None),
        ("postal_code", "sw1a 1aa", "SW1A1AA"),
        ("birth_date", date(1900, 1, 1), None),
        ("birth_date", date(1985, 3, 7), date(1985, 3, 7)),
    ],
)
def test_values_are_compared_without_their_format(column: str, written: Any, expected: Any) -> None:
    assert comparable({column: written}).row(0, named=True)[column] == expected


def test_one_person_in_three_guises_is_linked() -> None:
    found = linked(
        {},
        {"full_name": "MUELLER, ANNA", "phone": "01555/1234567", "email": None, "postal_code": "20095"},
        {"full_name": "anna muller", "phone": None, "birth_date": None, "postal_code": None},
    )
    assert {("r0", "r1"), ("r0", "r2")} <= found


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"full_name": "Ben Müller", "birth_date": date(1983, 1, 9)}, id="partner"),
        pytest.param({"full_name": "Clara Müller", "email": "clara@example.com"}, id="twin"),
        pytest.param({"birth_date": date(1955, 11, 30)}, id="namesake mother"),
        pytest.param({"full_name": "Ben Müller", "birth_date": None}, id="partner of unknown age"),
        pytest.param(
            {"full_name": "Sara Wolf", "birth_date": None, "phone": None, "postal_code": None}, id="heir of the address"
        ),
    ],
)
def test_a_household_shares_everything_but_what_makes_a_person(other: dict[str, Any]) -> None:
    assert contradict({}, other)
    assert not linked({}, other)


def test_common_names_in_one_place_prove_nothing() -> None:
    bare = {"email": None, "phone": None, "birth_date": None}
    assert not linked(bare, bare)
    assert not linked(bare | {"email": "a@example.com"}, bare | {"email": "b@example.com"})


@pytest.mark.parametrize(
    "other",
    [
        {"full_name": "Uschi Müller"},
        {"birth_date": date(1985, 7, 3)},
        {"birth_date": date(1984, 3, 7)},
        {"full_name": "Anan Müller"},
        {"full_name": "Müller Anna"},
        {"full_name": "A. Müller"},
        {"birth_date": None},
    ],
)
def test_slips_and_nicknames_are_no_contradiction(other: dict[str, Any]) -> None:
    assert not contradict({}, other)
    assert linked({}, other)


def test_a_score_depends_on_the_two_records_alone() -> None:
    crowd = as_customers(make_records(3, 300)).to_dicts()
    pair = [dict(ANNA), ANNA | {"phone": None, "full_name": "Mueller, Anna"}]
    with duckdb.connect() as con:
        alone = identity.score(con, DEFAULT, comparable(*pair), 0.5).row(0)
        among = identity.score(con, DEFAULT, comparable(*pair, *crowd), 0.5)
    assert among.filter(customer_id_1="r0").row(0) == alone


def test_scoring_the_changed_records_gives_what_scoring_all_gives_of_them() -> None:
    with duckdb.connect() as con:
        records = comparable_records(con, make_records(4, 500))
        every = identity.score(con, DEFAULT, records, 0.99)
        touched = records["customer_id"].gather_every(7)
        some = identity.score(con, DEFAULT, records, 0.99, touched)
    either = pl.col("customer_id_1").is_in(touched.implode()) | pl.col("customer_id_2").is_in(touched.implode())
    assert some.equals(every.filter(either))
    assert 20 < some.height < every.height


def test_a_value_that_everybody_has_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"phone": None, "birth_date": None, "postal_code": None}
    rows = [{"full_name": "Anna Müller", **others} for _ in range(4)]
    assert len(linked(*rows)) == 6
    monkeypatch.setattr(identity, "LARGEST_BLOCK", 3)
    assert not linked(*rows)


# -- persons -----------------------------------------------------------------------------------------------------


def persons(
    links: list[tuple[str, str, float]], keys: dict[str, str] | None = None, against: set[tuple[str, str]] | None = None
) -> dict[str, tuple[str, str, float]]:
    frame = pl.DataFrame(
        [(a, b, w, 1 - 2.0**-w) for a, b, w in links],
        schema={
            "customer_id_1": pl.String,
            "customer_id_2": pl.String,
            "match_weight": pl.Float64,
            "match_probability": pl.Float64,
        },
        orient="row",
    )
    keyed = pl.DataFrame(
        list((keys or {}).items()), schema={"customer_id": pl.String, "person_key": pl.String}, orient="row"
    )

    def conflicts(pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.filter([row in (against or set()) for row in pairs.rows()])

    found = build_persons(frame, keyed, conflicts)
    return {row[0]: row[1:] for row in found.rows()}


def test_linked_records_are_one_person_and_bear_the_smallest_id() -> None:
    found = persons([("b", "c", 10), ("a", "c", 8), ("x", "y", 9)])
    assert {k: v[0] for k, v in found.items()} == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}
    assert found["c"][1:] == ("linked", 1 - 2.0**-10)
    assert found["a"][2] == 1 - 2.0**-8


def test_a_key_ties_records_to_linked_ones() -> None:
    found = persons([("b", "c", 10)], keys={"a": "k", "c": "k", "d": "other", "e": "other"})
    assert {k: v[0] for k, v in found.items()} == {"a": "a", "b": "a", "c": "a"}
    assert found["a"][1:] == ("person_key", 1.0)


def test_a_third_record_does_not_put_together_what_contradicts_itself() -> None:
    found = persons([("a", "b", 12), ("b", "c", 9)], against={("a", "c")})
    assert {k: v[0] for k, v in found.items()} == {"a": "a", "b": "a"}
    # Nor do two; where more agree, somebody has written badly.
    found = persons([("a", "b", 12), ("b", "c", 9), ("d", "a", 9), ("d", "b", 9), ("d", "c", 8)], against={("a", "c")})
    assert found.keys() == {"a", "b", "d"}
    four = [("a", "b", 12), ("a", "d", 9), ("a", "e", 9), ("b", "d", 9), ("b", "e", 9), ("d", "e", 9)]
    found = persons([*four, ("b", "c", 8), ("c", "d", 8), ("c", "e", 8)], against={("a", "c")})
    assert {v[0] for v in found.values()} == {"a"}
    # The surer link wins, whichever comes first.
    found = persons([("a", "b", 9), ("b", "c", 12)], against={("a", "c")})
    assert {k: v[0] for k, v in found.items()} == {"b": "b", "c": "b"}


def test_the_shops_own_key_is_believed_whatever_records_say() -> None:
    found = persons([("a", "b", 9), ("c", "d", 9)], keys={"b": "k", "c": "k"}, against={("b", "c"), ("a", "d")})
    assert {k: v[0] for k, v in found.items()} == {"a": "a", "b": "a", "c": "a"}


def test_no_links_no_persons() -> None:
    assert persons([]) == {}
    assert persons([], keys={"a": "k", "b": "k"}) == {}


# -- parameters --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records() -> pl.DataFrame:
    with duckdb.connect() as con:
        return comparable_records(con, make_records(8, 2500))


def test_the_same_records_teach_the_same_parameters(records: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SAMPLED_PAIRS", 50_000)
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    with duckdb.connect() as con:
        one = training.train_identity(con, records, seed=1, trained_at=moment)
        other = training.train_identity(
            con, records.sample(fraction=1.0, shuffle=True, seed=3), seed=1, trained_at=moment
        )
    assert one.parameters == other.parameters
    assert one.card.rows_trained == records.height
    # What belongs to one person alone weighs more than a place.
    learnt = one.card.metrics["weights"]
    assert min(learnt["email"]["equal"], learnt["birth_date"]["equal"]) > learnt["place"]["equal"] > (0,)
    assert all(levels["differs"][0] < 0 for levels in learnt.values())
    # What a household shares says nothing within one; a birth date does.
    assert learnt["place"]["equal"][1] < 1 < learnt["birth_date"]["equal"][1]


def test_too_few_records_teach_nothing(records: pl.DataFrame) -> None:
    with duckdb.connect() as con, pytest.raises(InputError, match="too few to learn from"):
        training.train_identity(con, records.head(100), seed=1)


def test_parameters_come_back_as_they_were_stored(tmp_path: Path) -> None:
    trained = identity.default_identity()
    card = artifacts.save_json_artifact(tmp_path, trained.parameters.to_json(), trained.card)
    data, found = artifacts.load_json_artifact(tmp_path, identity.MODEL, card.version, sha256=card.sha256)
    assert identity.Parameters.from_json(card.version, data) == trained.parameters
    assert found == card
    path = tmp_path / card.artifact_path / artifacts.JSON_FILE
    path.write_bytes(path.read_bytes().replace(b"0.9", b"0.5"))
    with pytest.raises(InputError, match="changed after training"):
        artifacts.load_json_artifact(tmp_path, identity.MODEL, card.version)


def test_the_packages_parameters_are_written_as_they_are_read() -> None:
    assert identity.default_text(identity.default_identity()) == identity.DEFAULT_FILE.read_text(encoding="utf-8")
