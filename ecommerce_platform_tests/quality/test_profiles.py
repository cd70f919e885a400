"""Profiles of loads: what they say of a load, what they never show, and that nothing but the load decides them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest

from ecommerce_platform.quality.pictures import pictures
from ecommerce_platform.quality.profiles import refresh_profiles
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.warehouse.write import Written
from ecommerce_platform_tests.warehouse.shop import FIRST_DAY, MAPPINGS, SOURCE_YML, TinyShop, day, deliver


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    strict = SOURCE_YML.replace("Orders and their status., ", "Orders and their status., max_rejected_share: 0.3, ")
    return TinyShop(tmp_path_factory.mktemp("tiny"), source_yml=strict)


@pytest.fixture
def con(shop: TinyShop) -> duckdb.DuckDBPyConnection:
    return shop.connect()


def take_over(shop: TinyShop, con: duckdb.DuckDBPyConnection, **asked: Any) -> Written:
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
    return refresh_profiles(con, shop.catalog.contract("gold.table_profiles"), shop.compiled, **asked)


def profile(con: duckdb.DuckDBPyConnection, raw: str, column: str, on: date = FIRST_DAY) -> dict[str, Any]:
    found = con.execute(
        "select * from gold.table_profiles where _raw_table = ? and column_name = ? and _load_date = ?",
        [raw, column, on],
    )
    names = [d[0] for d in found.description]
    (row,) = found.fetchall()
    return dict(zip(names, row, strict=True))


def test_numbers_are_told_by_quantiles_and_bins_that_are_the_same_for_all_loads(shop, con) -> None:
    prices = ["0", "1", "1.1", "2", "3", "10", "11", "100", None, "-5"]
    deliver(con, "products", day(0), [(f"p{n}", "shirt", price) for n, price in enumerate(prices)])
    take_over(shop, con)
    # A price below 0 is rejected, so it is no part of the profile.
    found = profile(con, "products", "list_price")
    assert (found["kind"], found["rows_count"], found["rows_profiled"], found["nulls"]) == ("number", 9, 9, 1)
    assert (found["minimum"], found["q50"], found["maximum"], found["distinct_values"]) == (0, 2, 100, 8)
    assert found["mean"] == pytest.approx(128.1 / 8)
    # Twenty borders per power of ten; 1 and 1.1 lie between 1 and 1.12, 2 between 2 and 2.24.
    assert json.loads(found["histogram"]) == {
        "0.0": 1, "1.0": 2, "2.0": 1, "2.82": 1, "10.0": 2, "100.0": 1
    }  # fmt: skip
    assert found["top_values"] is None


def test_times_are_told_as_days_before_the_load(shop, con) -> None:
    placed = ["2024-01-01 10:00", "2023-12-31", "2023-12-01", "2024-01-02"]
    deliver(con, "orders", day(0), [(f"o{n}", time, "created") for n, time in enumerate(placed)])
    take_over(shop, con)
    found = profile(con, "orders", "ordered_at")
    assert (found["kind"], found["minimum"], found["q50"], found["maximum"]) == ("time", -1, 0, 31)


def test_values_that_repeat_are_counted_and_free_texts_are_not_shown(shop, con) -> None:
    states = ["created"] * 5 + ["shipped"] * 3 + ["canceled"]
    deliver(con, "orders", day(0), [(f"o{n}", "2024-01-01", state) for n, state in enumerate(states)])
    deliver(con, "products", day(0), [(f"p{n}", f"a shirt number {n}", "1") for n in range(9)])
    take_over(shop, con)
    status, flag = profile(con, "orders", "status"), profile(con, "orders", "is_valid")
    assert list(json.loads(status["top_values"]).items()) == [("created", 5), ("shipped", 3), ("canceled", 1)]
    assert json.loads(flag["top_values"]) == {"true": 8, "false": 1}
    name = profile(con, "products", "name")
    assert name["top_values"] is None
    assert (name["kind"], name["minimum"], name["distinct_values"]) == ("text", 16, 9)
    key = profile(con, "orders", "order_id")
    assert (key["kind"], key["top_values"], key["histogram"], key["maximum"]) == ("key", None, None, 2)


def test_personal_data_is_counted_and_never_shown(shop, con) -> None:
    deliver(con, "crm", day(0), [(str(n), "ann@example.org") for n in range(9)] + [("x", None)])
    take_over(shop, con)
    found = profile(con, "crm", "email")
    assert (found["kind"], found["nulls"], found["distinct_values"]) == ("personal", 1, 1)
    shown = [v for name, v in found.items() if name in ("minimum", "q50", "maximum", "mean", "top_values", "histogram")]
    assert shown == [None] * 6
    assert "ann@example.org" not in str(con.execute("from gold.table_profiles").fetchall())
    assert "email" not in str(pictures(con))


def test_what_is_a_persons_though_it_is_published_is_counted_and_never_shown(tmp_path: Path) -> None:
    mappings = {name: sql for name, sql in MAPPINGS.items() if name != "customers.web"} | {
        "reviews.web": "select as_text(id) as review_id, as_text(id) as order_id, 5 as score, as_text(mail) as title "
        "from bronze.tiny__web"
    }
    shop = TinyShop(tmp_path, mappings)
    con = shop.connect()
    deliver(con, "web", day(0), [(str(n), "so says Eva") for n in range(9)] + [("x", None)])
    take_over(shop, con)
    found = profile(con, "web", "title")
    assert (found["kind"], found["nulls"], found["distinct_values"]) == ("personal", 1, 1)
    assert (found["maximum"], found["top_values"], found["histogram"]) == (None, None, None)


def test_what_later_loads_supersede_was_delivered_all_the_same(shop, con) -> None:
    deliver(con, "orders", day(0), [("a", "2024-01-01", "created"), ("b", "2024-01-01", "created")])
    take_over(shop, con)
    deliver(con, "orders", day(1), [("a", "2024-01-01", "shipped")])
    written = take_over(shop, con)
    assert con.execute("select count(*) from silver.orders where _load_date = ?", [day(0)]).fetchone() == (1,)
    assert profile(con, "orders", "status")["rows_count"] == 2
    # Only the new load was profiled: four columns.
    assert (written.inserted, written.deleted) == (4, 0)


def test_rows_are_counted_as_groups_where_a_mapping_gathers_them(shop, con) -> None:
    deliver(con, "places", day(0), [("1", "50.0", "x"), ("1", "52.0", "x"), ("2", "60.0", "y"), ("3", "north", "z")])
    take_over(shop, con)
    found = profile(con, "places", "latitude")
    assert (found["rows_count"], found["rows_profiled"], found["minimum"], found["maximum"]) == (2, 2, 51, 60)


def test_a_load_that_is_set_aside_has_no_rows(shop, con) -> None:
    deliver(con, "orders", day(0), [(f"o{n}", "soon" if n < 25 else "2024-01-01", "created") for n in range(50)])
    take_over(shop, con)
    found = profile(con, "orders", "status")
    assert (found["rows_count"], found["rows_profiled"], found["nulls"], found["histogram"]) == (0, 0, 0, None)


def test_a_load_that_comes_again_or_goes_replaces_its_profile(shop, con) -> None:
    deliver(con, "orders", day(0), [("a", "2024-01-01", "created"), ("b", "2024-01-01", "created")])
    deliver(con, "orders", day(1), [("c", "2024-01-02", "created")])
    take_over(shop, con)
    assert not take_over(shop, con).changed
    deliver(con, "orders", day(0), [("a", "2024-01-01", "created")])
    assert take_over(shop, con).changed
    assert profile(con, "orders", "status")["rows_count"] == 1
    deliver(con, "orders", day(0), None)
    take_over(shop, con)
    assert con.execute(
        "select distinct _load_date from gold.table_profiles where _raw_table = 'orders'"
    ).fetchall() == [(day(1),)]


def test_every_order_of_loads_gives_the_same_profiles(shop) -> None:
    loads = [
        (day(0), [("a", "2024-01-01", "created"), ("b", "2024-01-01", "lost"), ("c", "2024-01-01", "shipped")]),
        (day(1), [("a", "2024-01-01", "shipped"), ("d", "2024-01-02", "created")]),
        (day(2), [("d", "2024-01-02", "canceled")]),
    ]
    results = []
    for order in permutations(loads):
        con = shop.connect()
        for on, rows in order:
            deliver(con, "orders", on, rows)
            take_over(shop, con)
        results.append(con.execute("from gold.table_profiles order by all").fetchall())
    assert len(results[0]) == 12
    assert all(result == results[0] for result in results)


def test_large_loads_are_looked_at_in_part_always_in_the_same(shop) -> None:
    results = []
    for _ in range(2):
        con = shop.connect()
        con.execute(
            "insert into bronze.tiny__orders select 'o' || n, '2024-01-01', case when n % 4 = 0 then 'canceled' else "
            "'created' end, ?, 'f.csv', n, 0 from range(1, 20001) as r(n)",
            [day(0)],
        )
        con.execute(
            "insert into bronze.files (raw_table, _load_date, _source_file, size_bytes, modified_ns, rows_loaded, "
            "rows_rejected, loaded_at) values ('orders', ?, 'f.csv', 1, 1, 20000, 0, timestamp '2024-01-01')",
            [day(0)],
        )
        take_over(shop, con)
        found = profile(con, "orders", "status")
        assert found["rows_count"] == 20000
        assert 200 <= found["rows_profiled"] <= 400
        # Every fourth order is canceled: a sample of every so-many-th row would see all of them, or none.
        assert json.loads(found["top_values"])["canceled"] / found["rows_profiled"] == pytest.approx(0.25, abs=0.06)
        results.append(con.execute("from gold.table_profiles order by all").fetchall())
    assert results[0] == results[1]


def test_a_changed_mapping_profiles_its_loads_again(shop, tmp_path: Path, con) -> None:
    deliver(con, "products", day(0), [("p", "shirt", "1")])
    take_over(shop, con)
    changed = MAPPINGS | {
        "products.products": MAPPINGS["products.products"].replace("as_decimal(price)", "as_decimal(price) * 100")
    }
    other = TinyShop(tmp_path, changed)
    take_over(other, con)
    assert profile(con, "products", "list_price")["maximum"] == 100


def test_the_picture_shows_the_newest_load_beside_those_before_it(shop, con) -> None:
    for number in range(3):
        rows = [(f"o{number}-{n}", "2024-01-01", "created" if n % 2 else "shipped") for n in range(10 + number)]
        deliver(con, "orders", day(number), rows)
    take_over(shop, con)
    text = pictures(con)["orders"]
    assert f"`orders`, load of {day(2)}: 12 rows" in text
    (uri,) = re.findall(r"!\[orders\]\(data:image/svg\+xml;base64,([^)]*)\)", text)
    svg = ElementTree.fromstring(b64decode(uri))
    labels = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"status", "is_valid", "ordered_at"} <= set(labels)
    assert "shipped, created" in labels
    assert "2 … 2 days before the load" in labels
    assert len(text) < 4000
