"""Histories against an oracle that replays the deliveries day by day in plain Python, whatever order they came in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from statistics import median
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.contracts.contract import Contract, complete_history
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.history import load_history
from ecommerce_platform_tests.warehouse.shop import TinyShop, day, deliver

#: Raw tables by entity: deltas, two of them for customers; a full one; a full one that gathers rows.
ENTITIES = {"customers": ("crm", "web"), "orders": ("orders",), "products": ("products",), "postal_codes": ("places",)}
FULL = {"products", "places"}
IDS = st.sampled_from(["a", "a", "b", "c", None])
ROWS = {
    "crm": st.tuples(IDS, st.sampled_from(["m@x", "n@x", None])),
    "web": st.tuples(IDS, st.sampled_from(["m@x", "n@x", None])),
    "orders": st.tuples(
        IDS, st.sampled_from(["2024-01-01", "2024-01-02 10:00", "soon"]), st.sampled_from(["created", "canceled", "lost"])
    ),
    "products": st.tuples(IDS, st.sampled_from(["n", "m"]), st.sampled_from(["1.50", "1.5", "2", "-1", "x", None])),
    "places": st.tuples(IDS, st.sampled_from(["1.5", "2.5", "95", "north", None]), st.sampled_from(["x", "y"])),
}  # fmt: skip
DAYS = 5
#: What is loaded after a batch landed: entities and histories, only one of them, histories by one day, nothing.
STEPS = ("both", "both", "both", "entities", "histories", "day", "nothing")

Values = tuple[Any, ...]
Provenance = tuple[date, str, str, int]


def accepted_and_mentioned(raw: str, on: date, rows: Sequence[Values]) -> tuple[dict[str, tuple], set[str]]:
    """Of one delivery: key → (values, provenance) of its last accepted row, and the keys of rejected rows."""
    accepted: dict[str, tuple[Values, Provenance]] = {}
    mentioned: set[str] = set()
    groups: dict[str, list[tuple[int, Values]]] = {}
    for number, (identity, *rest) in enumerate(rows, 1):
        if identity is None:
            continue
        key, values = identity, None
        if raw in ("crm", "web"):
            key, values = f"{raw}-{identity}", (rest[0],)
        elif raw == "orders":
            if rest[0] != "soon" and rest[1] != "lost":
                values = (rest[0], rest[1])
        elif raw == "products":
            if rest[1] not in ("-1", "x"):
                values = (rest[0], None if rest[1] is None else Decimal(rest[1]))
        elif rest[0] != "north":
            groups.setdefault(key, []).append((number, tuple(rest)))
            continue
        if values is None:
            mentioned.add(key)
        else:
            accepted[key] = (values, (on, raw, "f.csv", number))
    for key, lines in groups.items():
        measured = [float(r[0]) for _, r in lines if r[0] is not None]
        latitude = median(measured) if measured else None
        if latitude is not None and latitude > 90:
            mentioned.add(key)
        else:
            values = (latitude, max(r[1] for _, r in lines))
            accepted[key] = (values, (on, raw, "f.csv", max(n for n, _ in lines)))
    return accepted, mentioned - accepted.keys()


def replay(raw: str, deliveries: dict[date, Sequence[Values]]) -> list[tuple]:
    """(key, values, version, valid_from, valid_to, is_current, provenance) of every version."""
    states: dict[str, list[tuple[date, tuple | None]]] = {}
    last: dict[str, tuple] = {}
    for on in sorted(deliveries):
        accepted, mentioned = accepted_and_mentioned(raw, on, deliveries[on])
        if raw in FULL and not accepted:
            continue
        for key in last.keys() | accepted.keys():
            if key in accepted:
                states.setdefault(key, []).append((on, accepted[key]))
            elif raw in FULL:
                states[key].append((on, last[key] if key in mentioned else None))
        last |= accepted
    versions = []
    for key, says in states.items():
        mine: list[list] = []
        for on, state in says:
            in_force = bool(mine) and mine[-1][4] is None
            if state is None:
                if in_force:
                    mine[-1][4] = on
                continue
            values, provenance = state
            if in_force and mine[-1][1] == values:
                continue
            if in_force:
                mine[-1][4] = on
            mine.append([key, values, len(mine) + 1, on, None, provenance])
        versions += [(k, v, n, since, until, until is None, p) for k, v, n, since, until, p in mine]
    return sorted(versions, key=lambda v: (v[0], v[2]))


COLUMNS = {
    "customers": "customer_id, email",
    "orders": "order_id, ordered_at, status",
    "products": "product_id, name, list_price",
    "postal_codes": "postal_code, latitude, city",
}


def stored(con, entity: str) -> list[tuple]:
    key, *rest = COLUMNS[entity].split(", ")
    rows = con.execute(
        f"select {key}, {', '.join(rest)}, version, valid_from, valid_to, is_current, "
        f"_load_date, _raw_table, _source_file, _source_row from silver.{entity}_history order by {key}, version"
    ).fetchall()
    n = len(rest)
    return [(r[0], r[1 : 1 + n], *r[1 + n : 5 + n], r[5 + n :]) for r in rows]


def expected(entity: str, delivered: dict[tuple[str, date], Sequence[Values]]) -> list[tuple]:
    found = []
    for raw in ENTITIES[entity]:
        found += replay(raw, {on: rows for (r, on), rows in delivered.items() if r == raw})
    if entity == "orders":
        times = {"2024-01-01": "2024-01-01 00:00:00", "2024-01-02 10:00": "2024-01-02 10:00:00"}
        found = [(k, (times[v[0]], v[1]), *rest) for k, v, *rest in found]
    return sorted(found, key=lambda v: (v[0], v[2]))


def current_equals_silver(con, shop: TinyShop, entity: str) -> None:
    columns = ", ".join(shop.contracts[entity].columns)
    silver = con.execute(f"select {columns} from silver.{entity} order by all").fetchall()
    assert (
        con.execute(f"select {columns} from silver.{entity}_history where is_current order by all").fetchall() == silver
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"))


class Histories(dict[str, Contract]):
    """By entity; short in the reports of failing examples."""

    def __repr__(self) -> str:
        return f"histories of {', '.join(self)}"


@pytest.fixture(scope="module")
def histories(shop: TinyShop, tmp_path_factory: pytest.TempPathFactory) -> Histories:
    """The package's histories, and two more of entities that have none there."""
    found = Histories((e, shop.catalog.contract(f"silver.{e}_history")) for e in ("customers", "products"))
    for entity in ("orders", "postal_codes"):
        key = shop.contracts[entity].key
        path = tmp_path_factory.mktemp("models") / f"{entity}_history.yml"
        path.write_text("made for a test")
        found[entity] = complete_history(
            Contract(
                name=f"{entity}_history", layer="silver", path=path, description="Made for a test.",
                grain="one row per version", key=(*key, "valid_from"), history_of=entity,
            ),
            shop.contracts[entity],
        )  # fmt: skip
    return found


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[list[tuple[str, date, list | None]], str, date]]:
    """Batches of deliveries, each with what is loaded after it; the last delivery of a (table, day) wins."""
    raws = ENTITIES[draw(st.sampled_from(sorted(ENTITIES)))]
    batches = []
    for _ in range(draw(st.integers(1, 6))):
        batch = []
        for _ in range(draw(st.integers(1, 3))):
            raw, number = draw(st.sampled_from(raws)), draw(st.integers(0, DAYS - 1))
            removed = draw(st.integers(0, 5)) == 5
            batch.append((raw, day(number), None if removed else draw(st.lists(ROWS[raw], max_size=4))))
        batches.append((batch, draw(st.sampled_from(STEPS)), day(draw(st.integers(0, DAYS - 1)))))
    return batches


def holds(shop: TinyShop, histories: Histories, batches) -> None:
    con = shop.connect()
    raws = {raw for batch, _, _ in batches for raw, _, _ in batch}
    entities = [e for e, fed in ENTITIES.items() if raws & set(fed)]
    delivered: dict[tuple[str, date], Sequence[Values]] = {}

    def load(step: str, on: date) -> None:
        again = [on] if step == "day" else []
        for entity in entities:
            if step in ("both", "entities", "day"):
                load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
            if step in ("both", "histories", "day"):
                load_history(con, shop.catalog, histories[entity], shop.compiled[entity], again=again)

    def compare() -> None:
        for entity in entities:
            assert sorted(map(plain, stored(con, entity))) == sorted(map(plain, expected(entity, delivered)))
            current_equals_silver(con, shop, entity)

    for batch, step, on in batches:
        for raw, at, rows in batch:
            deliver(con, raw, at, rows)
            delivered.pop((raw, at), None)
            if rows is not None:
                delivered[(raw, at)] = rows
        load(step, on)
        if step == "both":
            compare()
    load("both", day(0))
    compare()
    load("day", batches[0][2])
    compare()


def plain(row: tuple) -> str:
    """A row as text, so that rows with nulls can be sorted."""
    values = tuple(str(v) if hasattr(v, "hour") else v for v in row[1])
    values = tuple(v.normalize() if isinstance(v, Decimal) else v for v in values)
    return repr((row[0], values, *row[2:]))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(schedules())
def test_histories_are_those_of_a_replay_day_by_day(shop: TinyShop, histories, batches) -> None:
    holds(shop, histories, batches)


@pytest.mark.long
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(schedules())
def test_many_more_schedules_end_in_the_histories_of_a_replay(shop: TinyShop, histories, batches) -> None:
    holds(shop, histories, batches)
