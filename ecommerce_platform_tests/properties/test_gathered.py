"""Gathered columns against an oracle in plain Python: whatever the order of loads, files and repeats, and in histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.history import load_history
from ecommerce_platform_tests.warehouse.shop import TinyShop, account, day, deliver_files

SOURCE_YML = """
description: A tiny invented shop whose lines bring along what is to be known of products and customers.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
gathered:
  products.sold: {name: as_date(sold_on), brand: as_integer(revision), category: }
  products.listed: {name: as_date(listed_on)}
  customers.sold: {country: as_date(sold_on)}
tables:
  sold: {files: ["sold*.csv"], description: Lines with product and customer., delivery: delta}
  listed: {files: ["listed*.csv"], description: All lines of a price list., delivery: full}
"""
MAPPINGS = {
    # list_price is not gathered: it is the one of the newest load.
    "products.sold": """
        select as_text(id) as product_id, as_text(title) as name, as_text(brand) as brand, as_text(kind) as category,
            as_decimal(price) as list_price
        from bronze.tiny__sold""",
    "products.listed": """
        select 'listed-' || as_text(id) as product_id, as_text(title) as name from bronze.tiny__listed""",
    "customers.sold": """
        select 'c-' || as_text(id) as customer_id, as_text(title) as country from bronze.tiny__sold""",
}
COLUMNS = {
    "sold": ("id", "title", "brand", "kind", "price", "sold_on", "revision"),
    "listed": ("id", "title", "listed_on"),
}
DAYS = 5

Row = Sequence[str | None]
#: (raw table, day) → file → rows.
Drops = Mapping[tuple[str, date], Mapping[str, Sequence[Row]] | None]

_IDS = st.sampled_from(["a", "a", "b", "c", None])
_TEXTS = st.sampled_from(["faulty", "Lamp", "LAMP", "lamp", None, None])
_DATES = st.sampled_from(["2024-01-01", "2024-01-02", "2024-01-03", None, "soon"])
_ROWS = {
    "sold": st.tuples(
        _IDS, _TEXTS, _TEXTS, _TEXTS, st.sampled_from(["1", "2", "-1"]), _DATES, st.sampled_from(["9", "10", None])
    ),
    "listed": st.tuples(_IDS, _TEXTS, _DATES),
}


@st.composite
def batches(draw: st.DrawFn) -> list[list[tuple[tuple[str, date], Mapping[str, Sequence[Row]] | None]]]:
    """Deliveries by build; the last delivery of a raw table and day counts. None takes the drop back."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        batch = []
        for _ in range(draw(st.integers(1, 3))):
            raw = draw(st.sampled_from(["sold", "sold", "sold", "listed"]))
            files = st.dictionaries(st.sampled_from(["f.csv", "g.csv"]), st.lists(_ROWS[raw], max_size=4), min_size=1)
            batch.append(((raw, day(draw(st.integers(0, DAYS - 1)))), draw(st.none() | files | files)))
        found.append(batch)
    return found


# -- the oracle ----------------------------------------------------------------------------------------------------


def gathered(values: Sequence[tuple[Any, str | None]]) -> str | None:
    """Of (what orders it, value): the newest value that is there, of equally new ones the greatest."""
    there = [(by is not None, by or 0, value) for by, value in values if value is not None]
    # Dates as texts and numbers are never among one column's.
    return max(there, key=lambda v: (v[0], v[1] if v[0] else 0, v[2].encode()))[2] if there else None


def accepted(entity: str, drops: Drops, raw: str, until: date | None = None) -> list[tuple[date, str, Row]]:
    """The accepted rows of a mapping, in the order of loads, files and records."""
    rows = []
    for (table, on), files in sorted(drops.items(), key=lambda d: d[0]):
        if table == raw and (until is None or on <= until):
            rows += [(on, file, row) for file in sorted(files or {}) for row in (files or {})[file]]
    dated = -1 if raw == "listed" else -2
    return [
        (on, file, row)
        for on, file, row in rows
        if row[0] is not None and row[dated] != "soon" and not (entity == "products" and raw == "sold" and row[4] == "-1")
    ]  # fmt: skip


def products(drops: Drops, until: date | None = None) -> dict[str, tuple]:
    """product_id → (name, brand, category, list_price)."""
    found: dict[str, tuple] = {}
    sold = accepted("products", drops, "sold", until)
    for key in {row[0] for _, _, row in sold}:
        mine = [row for _, _, row in sold if row[0] == key]
        found[str(key)] = (
            gathered([(r[5], r[1]) for r in mine]),
            gathered([(None if r[6] is None else int(r[6]), r[2]) for r in mine]),
            gathered([(None, r[3]) for r in mine]),
            float(str(mine[-1][4])),
        )
    listed = accepted("products", drops, "listed", until)
    newest = max((on for on, _, _ in listed), default=None)
    for key in {row[0] for on, _, row in listed if on == newest}:
        found[f"listed-{key}"] = (
            gathered([(r[2], r[1]) for on, _, r in listed if on == newest and r[0] == key]), None, None, None,
        )  # fmt: skip
    return found | still_there(drops, listed, newest, until)


def still_there(drops: Drops, listed: Sequence[tuple], newest: date | None, until: date | None) -> dict[str, tuple]:
    """Products whose rows the newest list has, but all of them rejected: they keep what the list before said."""
    mentioned = {row[0] for rows in (drops.get(("listed", newest)) or {}).values() for row in rows} - {None}  # type: ignore[arg-type]
    found = {}
    for key in mentioned - {row[0] for on, _, row in listed if on == newest}:
        if before := max((on for on, _, row in listed if row[0] == key), default=None):
            mine = [row for on, _, row in listed if on == before and row[0] == key]
            found[f"listed-{key}"] = (gathered([(r[2], r[1]) for r in mine]), None, None, None)
    return found


def customers(drops: Drops, until: date | None = None) -> dict[str, tuple]:
    sold = accepted("customers", drops, "sold", until)
    return {
        f"c-{key}": (gathered([(r[5], r[1]) for _, _, r in sold if r[0] == key]),) for key in {r[0] for _, _, r in sold}
    }


# -- against the tables ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"), MAPPINGS, SOURCE_YML, COLUMNS)


def load(shop: TinyShop, con, again=(), *, histories: bool = True) -> None:
    for entity in ("products", "customers"):
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity], again=again)
    for entity in ("products", "customers") if histories else ():
        contract = shop.catalog.contract(f"silver.{entity}_history")
        load_history(con, shop.catalog, contract, shop.compiled[entity], again=again)


def current(con, table: str = "silver.products", where: str = "true") -> dict[str, tuple]:
    columns = "product_id, name, brand, category, list_price::double"
    if "customers" in table:
        columns = "customer_id, country"
    return {key: tuple(rest) for key, *rest in con.execute(f"select {columns} from {table} where {where}").fetchall()}


def tables(shop: TinyShop, con) -> dict[str, list]:
    account(shop, con)
    names = (
        "products",
        "customers",
        "products_history",
        "customers_history",
        "loads",
        "rejects",
        "row_accounting",
        "entity_accounting",
    )
    found = {name: con.execute(f"select * from silver.{name} order by all").fetchall() for name in names}
    ledgers = con.execute("select table_name from duckdb_tables() where schema_name = 'gathered'").fetchall()
    return found | {f: con.execute(f'select * from gathered."{f}" order by all').fetchall() for (f,) in ledgers}


def converges(shop: TinyShop, deliveries) -> None:
    final = {drop: files for batch in deliveries for drop, files in batch}
    step_by_step, at_once = shop.connect(), shop.connect()
    for number, batch in enumerate(deliveries):
        for (raw, on), files in batch:
            deliver_files(step_by_step, raw, on, files)
        load(shop, step_by_step, histories=number % 3 != 1)
    load(shop, step_by_step)
    for (raw, on), files in final.items():
        deliver_files(at_once, raw, on, files)
    load(shop, at_once)
    assert current(at_once) == products(final)
    assert current(at_once, "silver.customers") == customers(final)
    for on in (day(n) for n in range(DAYS)):
        held = f"valid_from <= date '{on}' and (valid_to > date '{on}' or valid_to is null)"
        assert current(at_once, "silver.products_history", held) == products(final, on), on
        assert current(at_once, "silver.customers_history", held) == customers(final, on), on
    expected = tables(shop, at_once)
    assert tables(shop, step_by_step) == expected
    load(shop, step_by_step, again=[day(1)])
    assert tables(shop, step_by_step) == expected


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches())
def test_gathered_columns_are_those_of_all_accepted_rows_in_any_order_of_loads(shop: TinyShop, deliveries) -> None:
    converges(shop, deliveries)


@pytest.mark.long
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches())
def test_gathered_columns_are_the_same_in_many_more_orders_of_loads(shop: TinyShop, deliveries) -> None:
    converges(shop, deliveries)
