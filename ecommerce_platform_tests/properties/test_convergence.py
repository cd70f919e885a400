"""Any order of loads, any repeats, any grouping: the same tables, row for row."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform_tests.warehouse.shop import COLUMNS, TinyShop, account, day, deliver

pytestmark = pytest.mark.shops

IDS = st.sampled_from(["a", "b", "c", None, " "])
PRICES = st.sampled_from(["1.50", "2", "-1", "x", None])
ROWS = {
    "orders": st.tuples(
        IDS, st.sampled_from(["2024-01-01", "2024-01-02 10:00", "soon", None]),
        st.sampled_from(["created", "delivered", "canceled", "lost"]),
    ),
    "lines": st.tuples(IDS, st.sampled_from(["p", "q", None]), st.sampled_from(["1", "2", "1.5"]), PRICES),
    "products": st.tuples(IDS, st.sampled_from(["n", "m"]), PRICES),
    "places": st.tuples(IDS, st.sampled_from(["1.5", "2.5", "95", "north", None]), st.sampled_from(["x", "y"])),
    "crm": st.tuples(IDS, st.sampled_from(["m@x", None])),
    "web": st.tuples(IDS, st.sampled_from(["m@x", None])),
}  # fmt: skip
DAYS = 4


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[str, date, list[tuple] | None]]]:
    """Batches of deliveries: each batch lands, then everything is loaded. The last delivery of a (table, day) wins."""
    delivery = st.tuples(st.sampled_from(sorted(ROWS)), st.integers(0, DAYS - 1), st.booleans(), st.randoms())
    batches = []
    for _ in range(draw(st.integers(1, 5))):
        batch = []
        for raw, number, removed, _ in draw(st.lists(delivery, min_size=1, max_size=4)):
            rows = None if removed and draw(st.booleans()) else draw(st.lists(ROWS[raw], max_size=5))
            batch.append((raw, day(number), rows))
        batches.append(batch)
    return batches


def load_all(shop: TinyShop, con, again=()) -> None:
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity], again=again)


def state(shop: TinyShop, con) -> dict[str, list]:
    account(shop, con)
    tables = {e: con.execute(f"select * from silver.{e} order by all").fetchall() for e in shop.filled}
    tables["rejects"] = con.execute("select * from silver.rejects order by all").fetchall()
    tables["loads"] = con.execute("select * from silver.loads order by all").fetchall()
    tables["entity_accounting"] = con.execute("select * from silver.entity_accounting order by all").fetchall()
    tables["row_accounting"] = con.execute("select * from silver.row_accounting order by all").fetchall()
    return tables


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"))


def _converges(shop: TinyShop, batches) -> None:
    final = {(raw, on): rows for batch in batches for raw, on, rows in batch}
    step_by_step, at_once = shop.connect(), shop.connect()
    for batch in batches:
        for raw, on, rows in batch:
            deliver(step_by_step, raw, on, rows)
        load_all(shop, step_by_step)
    for (raw, on), rows in final.items():
        deliver(at_once, raw, on, rows)
    load_all(shop, at_once)
    expected = state(shop, at_once)
    assert state(shop, step_by_step) == expected
    # Loading what is loaded already changes nothing, whichever days are asked for.
    for number in (2, 0):
        load_all(shop, step_by_step, again=[day(number)])
    assert state(shop, step_by_step) == expected


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_loads_in_any_order_end_in_the_tables_of_one_full_load(shop: TinyShop, batches) -> None:
    _converges(shop, batches)


@pytest.mark.long
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_many_more_orders_of_loads_end_in_the_same_tables(shop: TinyShop, batches) -> None:
    _converges(shop, batches)


def test_every_raw_table_of_the_tiny_shop_is_exercised(shop: TinyShop) -> None:
    assert set(ROWS) == set(COLUMNS) == set(shop.source.file.tables)
