"""The audit trail: who was whom before, told for every change, and nothing in it ever changed."""

from __future__ import annotations

from datetime import date
from typing import Any

from ecommerce_platform.persons.identity import Parameters
from ecommerce_platform.persons.links import CHANGES, IDENTITIES, LINKS, Linking
from ecommerce_platform_tests.persons.warehouse import DEFAULT, LINKING, Persons

ANNA: dict[str, Any] = {
    "full_name": "Anna Müller",
    "email": "anna@example.com",
    "phone": "+49 1555 1234567",
    "birth_date": date(1985, 3, 7),
    "postal_code": "10115",
}
BEN = ANNA | {"full_name": "Ben Wolf", "email": "ben@example.com", "phone": None, "birth_date": date(1970, 5, 5)}
OTHER = {"full_name": "Zoe Adler", "email": "zoe@example.com"}


def test_merge_and_split_and_back() -> None:
    persons = Persons()
    persons.hold({"a": ANNA, "b": BEN, "c": OTHER})
    persons.build()
    assert persons.trail() == [(c, None, c, "new") for c in "abc"]

    persons.hold({"a": ANNA, "b": BEN, "c": ANNA | {"phone": None}})
    persons.build()
    assert persons.persons() == {"a": "a", "b": "b", "c": "a"}
    assert persons.trail()[3:] == [("c", "c", "a", "merge")]

    persons.hold({"a": ANNA, "b": BEN, "c": OTHER})
    persons.build()
    assert persons.persons() == {"a": "a", "b": "b", "c": "c"}
    assert persons.trail()[4:] == [("c", "a", "c", "split")]


def test_a_removed_record_gives_the_person_another_id() -> None:
    persons = Persons()
    persons.hold({"a": ANNA, "b": ANNA, "c": ANNA})
    persons.build()
    persons.hold({"b": ANNA, "c": ANNA})
    persons.build()
    assert persons.trail()[3:] == [("a", "a", None, "removed"), ("b", "a", "b", "renamed"), ("c", "a", "b", "renamed")]
    # It comes back.
    persons.hold({"a": ANNA, "b": ANNA, "c": ANNA})
    persons.build()
    assert persons.trail()[6:] == [("a", None, "a", "new"), ("b", "b", "a", "merge"), ("c", "b", "a", "merge")]


def test_keys_of_the_shop_are_told_of_as_well() -> None:
    persons = Persons(linking=None)
    persons.hold({"a": OTHER, "b": OTHER})
    persons.build()
    assert persons.content(LINKS) == []
    persons.hold({"a": {**OTHER, "person_key": "k"}, "b": {**OTHER, "person_key": "k"}})
    persons.build()
    assert persons.trail()[2:] == [("b", "b", "a", "merge")]
    rules = persons.con.execute(f"select distinct rule, match_probability from {IDENTITIES}").fetchall()
    assert rules == [("person_key", 1.0)]
    versions = persons.con.execute(f"select distinct parameters_version from {CHANGES}").fetchall()
    assert versions == [(None,)]


def test_other_parameters_work_everything_out_again_and_say_so() -> None:
    persons = Persons(linking=None)
    persons.hold({"a": ANNA, "b": ANNA, "c": OTHER})
    persons.build()
    persons.linking = LINKING
    persons.build()
    assert persons.persons() == {"a": "a", "b": "a", "c": "c"}
    # Parameters for which nothing is ever a match.
    never = {**DEFAULT.parameters.settings, "prior": {"person": 1e-40, "household": 1e-5}}
    persons.linking = Linking(Parameters("20990101T000000Z-000000000000", never), 0.99)
    persons.build()
    assert persons.persons() == {"a": "a", "b": "b", "c": "c"}
    assert persons.trail()[3:] == [("b", "b", "a", "merge"), ("b", "a", "b", "split")]
    versions = persons.con.execute(f"select parameters_version from {CHANGES} where reason = 'merge'").fetchall()
    assert versions == [(DEFAULT.parameters.version,)]
    # Without linking everybody is as the keys say.
    persons.linking = LINKING
    persons.build()
    persons.linking = None
    persons.build()
    assert persons.persons() == {"a": "a", "b": "b", "c": "c"}
    assert persons.content(LINKS) == []
    assert persons.trail()[5:] == [("b", "b", "a", "merge"), ("b", "a", "b", "split")]


def test_a_failed_write_leaves_no_trace(monkeypatch: Any) -> None:
    persons = Persons()
    persons.hold({"a": ANNA, "b": OTHER})
    persons.build()
    before = persons.content(CHANGES), persons.content(IDENTITIES)
    persons.hold({"a": ANNA, "b": ANNA})
    persons.refresh(LINKS)
    persons.refresh("silver.customer_clusters")
    monkeypatch.setattr("ecommerce_platform.warehouse.incremental.check_rows", _fail)
    try:
        persons.refresh(IDENTITIES)
    except RuntimeError:
        pass
    else:
        raise AssertionError("the check did not stop the write")
    assert (persons.content(CHANGES), persons.content(IDENTITIES)) == before
    monkeypatch.undo()
    persons.refresh(IDENTITIES)
    assert persons.trail()[2:] == [("b", "b", "a", "merge")]


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError("stopped")
