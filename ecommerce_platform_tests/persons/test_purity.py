"""Whatever the order in which customers come, change and go: the persons are those of one build from their records."""

from __future__ import annotations

from random import Random
from typing import Any

import polars as pl
import pytest

from ecommerce_platform.errors import PassingError
from ecommerce_platform.persons import identity
from ecommerce_platform.persons.links import CHANGES, CLUSTERS, IDENTITIES, LINKS
from ecommerce_platform.simulation.records import make_records
from ecommerce_platform_tests.persons.warehouse import TABLES, Persons

COLUMNS = ("full_name", "email", "phone", "birth_date", "postal_code")


@pytest.fixture(scope="module")
def contents() -> list[dict[str, Any]]:
    """What records say: two or more of most persons, so that almost every change links or parts some."""
    frame = make_records(5, 1200).filter(pl.len().over("person") > 2).sort("person", "customer_no")
    return frame.head(60).select(COLUMNS).to_dicts()


def _change(random: Random, rows: dict[str, dict[str, Any]], contents: list[dict[str, Any]]) -> None:
    key = f"c{random.randrange(45):02d}"
    kind = random.random()
    if kind < 0.25:
        rows.pop(key, None)
        return
    row = dict(random.choice(contents)) if kind < 0.75 or key not in rows else dict(rows[key])
    other = random.choice(contents)
    if random.random() < 0.4:
        name = random.choice(COLUMNS)
        row[name] = random.choice((None, other[name]))
    if random.random() < 0.25:
        row["person_key"] = random.choice(("k1", "k2", "k3", None))
    rows[key] = row


def _compare(seed: int, contents: list[dict[str, Any]], groups: int) -> int:
    random = Random(seed)
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(60):
        _change(random, rows, contents)
    kept = Persons()
    kept.hold(rows)
    kept.build()
    for _ in range(groups):
        for _ in range(random.randrange(1, 5)):
            _change(random, rows, contents)
        kept.hold(rows)
        # A run may stop anywhere, or take over only a part.
        for table in TABLES:
            if random.random() < 0.75:
                kept.refresh(table)
    kept.build()
    fresh = Persons()
    fresh.hold(rows)
    fresh.build()
    for table in TABLES:
        assert kept.content(table) == fresh.content(table), f"seed {seed}: {table}"
    last = "select customer_id, new_person_id from (select *, row_number() over (partition by customer_id order by version desc) as n from silver.identity_changes) where n = 1 and new_person_id is not null"
    assert dict(kept.con.execute(last).fetchall()) == kept.persons()
    return len(fresh.content(CLUSTERS))


@pytest.mark.parametrize("largest", [3, 100])
def test_persons_kept_up_to_date_are_those_of_a_build_from_scratch(
    contents: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(identity, "LARGEST_BLOCK", largest)
    assert sum(_compare(seed, contents, groups=3) for seed in range(1)) > 5


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_persons_kept_up_to_date_are_those_of_a_build_from_scratch_at_length(
    contents: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(identity, "LARGEST_BLOCK", (2, 3, 5, 100)[seed % 4])
    _compare(seed, contents, groups=10)


def test_a_load_without_changes_writes_nothing(contents: list[dict[str, Any]]) -> None:
    persons = Persons()
    persons.hold({f"c{i}": row for i, row in enumerate(contents[:20])})
    persons.build()
    trail = persons.content(CHANGES)
    assert [persons.refresh(table).changed for table in (LINKS, CLUSTERS, IDENTITIES)] == [False, False, False]
    assert persons.content(CHANGES) == trail


def test_links_scored_from_older_records_do_not_undo_those_of_another_run(
    contents: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {f"c{i:02d}": row for i, row in enumerate(contents)}
    after = {f"c{i:02d}": contents[(i + 1) % len(contents)] for i in range(len(contents) // 2)}
    persons, fresh = Persons(), Persons()
    fresh.hold(after)
    fresh.refresh(LINKS)
    persons.hold(before)
    score, calls = identity.score, []

    def scored_while_another_run_works(*given: Any) -> Any:
        links = score(*given)
        calls.append(links)
        if len(calls) == 1:
            persons.hold(after)
            persons.refresh(LINKS)
        return links

    monkeypatch.setattr(identity, "score", scored_while_another_run_works)
    persons.refresh(LINKS)
    assert len(calls) >= 2
    assert persons.content(LINKS) == fresh.content(LINKS) != []


def test_a_run_that_others_always_overtake_says_so(
    contents: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    persons = Persons()
    persons.hold({f"c{i:02d}": row for i, row in enumerate(contents)})
    score, another, left = identity.score, False, len(contents)

    def overtaken(*given: Any) -> Any:
        nonlocal another, left
        links = score(*given)
        if not another:
            another = True
            for step in (persons.refresh, None):  # another run catches up, and then there is more to do
                left -= 1
                persons.hold({f"c{i:02d}": row for i, row in enumerate(contents[:left])})
                if step:
                    step(LINKS)
            another = False
        return links

    monkeypatch.setattr(identity, "score", overtaken)
    with pytest.raises(PassingError, match="other runs kept changing"):
        persons.refresh(LINKS)
