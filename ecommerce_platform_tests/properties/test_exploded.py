"""Orders as documents, with lines and refunds in arrays: any order of loads ends in the same tables, row for row."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecommerce_platform.silver.accounting import account_entities, account_rows
from ecommerce_platform_tests.warehouse.exploded_shop import SOURCE_YML, ExplodedShop

#: Without the table that fills nothing.
MAPPED = SOURCE_YML.partition("  refund_lines:")[0]
FIRST = date(2024, 1, 1)
LINE = st.fixed_dictionaries(
    {
        "product": st.sampled_from(["p", "q", None]),
        "n": st.sampled_from([1, 2, "x"]),
        "price": st.sampled_from(["1.50", 2]),
    }
)
REFUND = st.fixed_dictionaries(
    {"id": st.sampled_from(["r1", "r2", "r3"]), "total": st.sampled_from(["1", "2.5", "x"])},
    optional={
        "lines": st.lists(st.fixed_dictionaries({"line": st.sampled_from([1, 2])}), max_size=2),
        "parcels": st.lists(st.fixed_dictionaries({"number": st.sampled_from(["x1", "x2"])}), max_size=2),
    },
)
#: An array as it comes: with elements, empty, null, or something that is none.
ORDER = st.fixed_dictionaries(
    {"id": st.sampled_from(["a", "b", "c"]), "placed": st.sampled_from(["2024-01-01", "2024-01-02"])},
    optional={
        "cart": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {}, optional={"lines": st.one_of(st.none(), st.just([]), st.lists(LINE, max_size=3), st.just("no"))}
            ),
        ),
        "refunds": st.one_of(st.none(), st.just([]), st.lists(REFUND, max_size=2, unique_by=lambda r: r["id"])),
    },
)
FILES = st.dictionaries(st.sampled_from(["orders_1.json", "orders_2.jsonl"]), st.lists(ORDER, max_size=3), max_size=2)
DAYS = 4


def state(shop: ExplodedShop, con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    for name, fill in (("entity_accounting", account_entities), ("row_accounting", account_rows)):
        fill(con, shop.catalog.contract(f"silver.{name}"), shop.source, shop.compiled)
    tables = [*(f"silver.{e}" for e in shop.filled), "silver.rejects", "silver.empty_units", "bronze.empty_arrays"]
    tables += ["bronze.rejects", "silver.entity_accounting", "silver.row_accounting"]
    found = {t: con.execute(f"select * from {t} order by all").fetchall() for t in tables}
    for raw in shop.source.file.tables:
        columns = [c for (c, *_) in con.execute(f"describe bronze.tiny__{raw}").fetchall()]
        # Which columns there are, and in which order, depends on what was loaded before; their values do not.
        rows = con.execute(f"select * from bronze.tiny__{raw}").fetchall()
        found[raw] = sorted(
            sorted((c, str(v)) for c, v in zip(columns, row, strict=True) if v is not None) for row in rows
        )
    return found


def units_by_hand(deliveries: dict[date, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Order → the lines of the last record that mentions it, by day, file and place in the file."""
    found: dict[str, Any] = {}
    for day in sorted(deliveries):
        for name in sorted(deliveries[day]):
            for order in deliveries[day][name]:
                lines = (order.get("cart") or {}).get("lines")
                if not isinstance(lines, str):
                    found[order["id"]] = lines or []
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[date, dict[str, list[dict[str, Any]]]]]]:
    """Batches of drops: each batch lands, then everything is loaded. The last drop of a day wins; none takes it back."""
    drop = st.tuples(st.integers(0, DAYS - 1).map(lambda n: FIRST + timedelta(days=n)), FILES)
    return draw(st.lists(st.lists(drop, min_size=1, max_size=3), min_size=1, max_size=5))


def _converges(folder: Path, batches: list[list[tuple[date, dict[str, list[dict[str, Any]]]]]]) -> None:
    shop = ExplodedShop(folder, MAPPED)
    step_by_step, at_once = shop.connect(), shop.connect()
    final: dict[date, dict[str, list[dict[str, Any]]]] = {}
    for batch in batches:
        for day, files in batch:
            shop.drop(day, files)
            final[day] = files
        shop.load(step_by_step)
    shop.load(at_once)
    expected = state(shop, at_once)
    assert state(shop, step_by_step) == expected
    for day in (FIRST + timedelta(days=2), FIRST):  # loading what is loaded already changes nothing
        shop.load(step_by_step, again=[day])
    assert state(shop, step_by_step) == expected


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_documents_in_any_order_of_loads_end_in_the_tables_of_one_full_load(tmp_path_factory, batches) -> None:
    _converges(tmp_path_factory.mktemp("exploded"), batches)


@pytest.mark.long
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_many_more_orders_of_loads_of_documents_end_in_the_same_tables(tmp_path_factory, batches) -> None:
    _converges(tmp_path_factory.mktemp("exploded"), batches)


def _order(*products: str, **more: Any) -> dict[str, Any]:
    lines = [{"product": p, "n": 1, "price": "1"} for p in products]
    return {"id": "a", "placed": "2024-01-01", "cart": {"lines": lines}, **more}


def _lines(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute("select order_id, line_number, product_id from silver.order_items order by all").fetchall()


VERSIONS = {
    "a line removed": ([_order("p", "q", "r")], [_order("p", "r")], [("a", 1, "p"), ("a", 2, "r")]),
    "lines sorted anew": ([_order("p", "q")], [_order("q", "p")], [("a", 1, "q"), ("a", 2, "p")]),
    "emptied": ([_order("p", "q")], [_order()], []),
    "without the array": ([_order("p")], [{"id": "a", "placed": "2024-01-01"}], []),
    "twice in a file": ([_order("p", "q")], [_order("p", "q", "r"), _order("p")], [("a", 1, "p")]),
    "emptied within a file": ([_order("p", "q")], [_order("p", "q", "r"), _order()], []),
    "not mentioned": ([_order("p")], [], [("a", 1, "p")]),
}


@pytest.mark.parametrize("what", VERSIONS)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newest_document_that_mentions_an_order_says_which_lines_it_has(tmp_path, what, order) -> None:
    shop = ExplodedShop(tmp_path)
    con = shop.connect()
    *versions, expected = VERSIONS[what]
    for number in order:
        shop.drop(FIRST + timedelta(days=number), {"orders.json": versions[number]})
        shop.load(con)
    assert _lines(con) == expected
    # Taken back, the newer version leaves the older one in force again.
    shop.drop(FIRST + timedelta(days=1), {})
    shop.load(con)
    assert _lines(con) == [("a", n, line["product"]) for n, line in enumerate(versions[0][0]["cart"]["lines"], start=1)]


def test_refunds_that_a_newer_document_lacks_are_gone_with_what_stood_in_them(tmp_path) -> None:
    shop = ExplodedShop(tmp_path)
    con = shop.connect()
    refund = {"id": "r1", "total": "2", "parcels": [{"number": "x1"}]}
    shop.drop(FIRST, {"orders.json": [_order("p", refunds=[refund, {**refund, "id": "r2", "parcels": []}])]})
    shop.load(con)
    assert con.execute("select return_id from silver.returns order by all").fetchall() == [("r1",), ("r2",)]
    assert con.execute("select shipment_id from silver.shipments").fetchall() == [("x1",)]
    shop.drop(FIRST + timedelta(days=1), {"orders.json": [_order("p", refunds=[])]})
    shop.load(con)
    assert con.execute("select return_id from silver.returns").fetchall() == []


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.integers(0, DAYS - 1).map(lambda n: FIRST + timedelta(days=n)), FILES, max_size=DAYS))
def test_an_orders_lines_are_those_of_the_last_document_that_mentions_it(tmp_path_factory, drops) -> None:
    shop = ExplodedShop(tmp_path_factory.mktemp("exploded"))
    clean = {
        day: {
            name: [
                {**o, "cart": {"lines": [{"product": "p", "n": 1, "price": "1"} for _ in _array(o)]}} for o in orders
            ]
            for name, orders in files.items()
        }
        for day, files in drops.items()
    }
    for day, files in clean.items():
        shop.drop(day, files)
    con = shop.connect()
    shop.load(con)
    expected = {order: len(lines) for order, lines in units_by_hand(clean).items() if lines}
    assert dict(con.execute("select order_id, count(*) from silver.order_items group by all").fetchall()) == expected


def _array(order: dict[str, Any]) -> list[Any]:
    lines = (order.get("cart") or {}).get("lines")
    return lines if isinstance(lines, list) else []
