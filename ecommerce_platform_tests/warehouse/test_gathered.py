"""Gathered columns and units within files, case by case; any order of loads is `properties/test_gathered.py`'s."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.entities import code_version, contradicting_loads, load_entity
from ecommerce_platform_tests.properties.test_gathered import COLUMNS, MAPPINGS, SOURCE_YML
from ecommerce_platform_tests.warehouse.shop import TinyShop, account, day, deliver, deliver_files


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"), MAPPINGS, SOURCE_YML, COLUMNS)


def sold(product: str, title: str | None, sold_on: str | None, price: str = "1") -> tuple:
    return (product, title, None, None, price, sold_on, None)


def names(shop: TinyShop, con) -> dict[str, str | None]:
    load_entity(con, shop.catalog, shop.contracts["products"], shop.compiled["products"])
    return dict(con.execute("select product_id, name from silver.products").fetchall())


def test_the_newest_name_that_is_there_counts_and_not_that_of_the_newest_load(shop: TinyShop) -> None:
    con = shop.connect()
    deliver(con, "sold", day(5), [sold("a", "old", "2024-01-01"), sold("b", None, "2024-01-09")])
    deliver(
        con, "sold", day(0), [sold("a", "new", "2024-01-02"), sold("b", "there", "2024-01-01"), sold("c", None, None)]
    )
    assert names(shop, con) == {"a": "new", "b": "there", "c": None}


def test_of_equally_new_names_the_greater_counts_whatever_file_they_are_in(shop: TinyShop) -> None:
    con = shop.connect()
    files = {"a.csv": [sold("a", "lamp", "2024-01-01")], "b.csv": [sold("a", "LAMP", "2024-01-01")]}
    deliver_files(con, "sold", day(0), files)
    assert names(shop, con) == {"a": "lamp"}


def test_a_name_without_a_date_counts_only_where_no_other_has_one(shop: TinyShop) -> None:
    con = shop.connect()
    deliver(con, "sold", day(0), [sold("a", "zebra", None), sold("a", "ape", "2024-01-01"), sold("b", "zebra", None)])
    assert names(shop, con) == {"a": "ape", "b": "zebra"}


def test_a_withdrawn_load_gives_the_name_before_back(shop: TinyShop) -> None:
    con = shop.connect()
    deliver(con, "sold", day(0), [sold("a", "first", "2024-01-01")])
    deliver(con, "sold", day(1), [sold("a", "second", "2024-01-02")])
    deliver(con, "sold", day(2), [sold("a", None, "2024-01-03")])
    assert names(shop, con) == {"a": "second"}
    deliver(con, "sold", day(1), None)
    assert names(shop, con) == {"a": "first"}
    assert con.execute("select _load_date from silver.products").fetchall() == [(day(2),)]


def test_a_rejected_line_has_no_say(shop: TinyShop) -> None:
    con = shop.connect()
    lines = [sold("a", "good", "2024-01-01"), sold("a", "bad", "2024-01-02", price="-1"), sold("a", "worse", "soon")]
    deliver(con, "sold", day(0), lines)
    assert names(shop, con) == {"a": "good"}
    reasons = [r for (r,) in con.execute("select reason from silver.rejects order by _source_row").fetchall()]
    assert reasons[0].startswith("list_price")
    assert reasons[1] == 'gathered: sold_on "soon" is not a date (YYYY-MM-DD)'


def test_lines_that_name_a_product_are_used_and_do_not_contradict_each_other(shop: TinyShop) -> None:
    con = shop.connect()
    deliver(con, "sold", day(0), [sold("a", f"name {n}", "2024-01-01") for n in range(5)])
    deliver(con, "sold", day(1), [sold("a", "name", "2024-01-01")])
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
    assert contradicting_loads(con, "products") == []
    account(shop, con)
    counted = con.execute(
        "select rows_landed, rows_used, rows_superseded from silver.row_accounting order by 1"
    ).fetchall()
    assert counted == [(1, 1, 0), (5, 5, 0)]


def test_a_small_load_looks_at_no_other_rows_than_its_own(shop: TinyShop) -> None:
    con = shop.connect()
    for number in range(3):
        deliver(con, "sold", day(number), [sold(p, f"{p} {number}", f"2024-01-0{number + 1}") for p in ("a", "b")])
    names(shop, con)
    # What is not in the new load is not asked again, so that bronze could be anything.
    con.execute("update bronze.tiny__sold set title = 'changed'")
    deliver(con, "sold", day(4), [sold("a", "a 4", "2023-01-01")])
    assert names(shop, con) == {"a": "a 2", "b": "b 2"}


def test_what_orders_a_column_is_part_of_the_table_s_definition(shop: TinyShop, tmp_path: Path) -> None:
    other = TinyShop(tmp_path, MAPPINGS, SOURCE_YML.replace("as_integer(revision)", "as_date(sold_on)"), COLUMNS)
    versions = [code_version(s.contracts["products"], s.compiled["products"]) for s in (shop, other)]
    assert versions[0] != versions[1]


@pytest.mark.parametrize(
    ("said", "line", "says"),
    [
        ("{products.sold: {title: as_date(sold_on)}}", 6, "'title' is not filled by the mapping"),
        ("{products.sold: {product_id: as_date(sold_on)}}", 6, "'product_id' is the key"),
        ("{products.sold: {name: 'max(as_date(sold_on))'}}", 6, "is not an expression over one raw row"),
        ("{products.sold: {name: 'as_date('}}", 6, "is not an expression over one raw row"),
        ("{products.sold: {name: cast(sold_on as date)}}", 6, "converts text without reporting"),
        ("{products.sold: {name: as_day(sold_on)}}", 6, "there is no macro 'as_day'"),
        ("{orders.sold: {status: as_date(sold_on)}}", 6, "there is no mapping orders.sold.sql"),
    ],
)
def test_a_mistake_in_what_is_gathered_is_answered_with_its_line(
    tmp_path: Path, said: str, line: int, says: str
) -> None:
    start, rest = SOURCE_YML.index("gathered:"), SOURCE_YML.index("tables:")
    yml = SOURCE_YML[:start] + f"gathered: {said}\n" + SOURCE_YML[rest:]
    with pytest.raises(DefinitionError, match=rf"source.yml:{line}: .*") as error:
        TinyShop(tmp_path, MAPPINGS, yml, COLUMNS)
    assert says in str(error.value)


def test_rows_that_are_grouped_cannot_be_gathered(tmp_path: Path) -> None:
    grouped = "select as_text(id) as product_id, max(as_text(title)) as name from bronze.tiny__sold group by _load_date, as_text(id)"
    with pytest.raises(DefinitionError, match="groups or numbers rows"):
        TinyShop(tmp_path, {**MAPPINGS, "products.sold": grouped}, SOURCE_YML, COLUMNS)


def test_a_text_does_not_order_values(tmp_path: Path) -> None:
    shop = TinyShop(tmp_path, MAPPINGS, SOURCE_YML.replace("as_integer(revision)", "revision"), COLUMNS)
    con = shop.connect()
    deliver(con, "sold", day(0), [sold("a", "A", "2024-01-01")])
    with pytest.raises(DefinitionError, match="revision is text, which is not ordered as what it says is"):
        names(shop, con)


# -- units within a file ---------------------------------------------------------------------------------------------

BY_FILE = {
    "order_items.lines": """
        select as_text(order_id) as order_id, row_number() over (
            partition by _load_date, _source_file, as_text(order_id) order by _source_row) as line_number,
            as_text(product) as product_id, as_integer(n) as quantity, as_decimal(price) as unit_price
        from bronze.tiny__lines""",
    "payments.lines": """
        select as_text(order_id) as order_id, 1 as payment_number, max(as_text(product)) as method,
            sum(as_decimal(price)) as amount
        from bronze.tiny__lines group by _load_date, _source_file, as_text(order_id)""",
}
BY_FILE_YML = """
description: A tiny invented shop whose files may overlap.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
units: {order_items.lines: [order_id], payments.lines: [order_id]}
tables:
  lines: {files: ["lines*.csv"], description: Lines without numbers., delivery: delta}
"""


def line(order: str, product: str, price: str = "2", n: str = "1") -> tuple[str, str, str, str]:
    return (order, product, n, price)


@pytest.fixture(scope="module")
def by_file(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    columns = {"lines": ("order_id", "product", "n", "price")}
    return TinyShop(tmp_path_factory.mktemp("sources"), BY_FILE, BY_FILE_YML, columns)


def fill(shop: TinyShop, con) -> tuple[list, list, list]:
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
    account(shop, con)
    return (
        con.execute("select order_id, line_number, product_id from silver.order_items order by all").fetchall(),
        con.execute("select order_id, amount::int from silver.payments order by all").fetchall(),
        con.execute("select rows_landed, rows_used, rows_superseded from silver.row_accounting").fetchall(),
    )


def test_files_that_overlap_double_nothing_and_the_last_has_the_order_as_it_is(by_file: TinyShop) -> None:
    before = [line("1", "a"), line("1", "b"), line("1", "c"), line("2", "a")]
    after = [line("1", "c"), line("1", "d"), line("3", "a")]
    once, apart = by_file.connect(), by_file.connect()
    deliver_files(once, "lines", day(0), {"lines_1.csv": before, "lines_2.csv": after})
    lines, paid, counted = fill(by_file, once)
    assert lines == [("1", 1, "c"), ("1", 2, "d"), ("2", 1, "a"), ("3", 1, "a")]
    assert paid == [("1", 4), ("2", 2), ("3", 2)]
    assert counted == [(7, 4, 3)]
    # The same files in two drops come to the same.
    deliver_files(apart, "lines", day(0), {"lines_1.csv": before})
    fill(by_file, apart)
    deliver_files(apart, "lines", day(1), {"lines_2.csv": after})
    assert fill(by_file, apart)[:2] == (lines, paid)


def test_a_group_that_breaks_a_rule_rejects_the_lines_of_its_file_only(by_file: TinyShop) -> None:
    con = by_file.connect()
    files = {"lines_1.csv": [line("1", "a")], "lines_2.csv": [line("1", "b", price="x"), line("2", "b")]}
    deliver_files(con, "lines", day(0), files)
    lines, paid, _ = fill(by_file, con)
    assert lines == [("1", 1, "a"), ("2", 1, "b")]
    assert paid == [("1", 2), ("2", 2)]
