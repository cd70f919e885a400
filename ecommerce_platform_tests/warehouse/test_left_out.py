"""Rows that a mapping's WHERE or QUALIFY drops: counted, named, and warned of unless source.yml says why."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform.silver.left_out import left_out, undeclared
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, account, day, deliver

#: An export of lines, each of which names its product: what is no line still names one.
NAMED = """
    select as_text(product) as product_id, max(as_text(product)) as name from bronze.tiny__lines
    group by _load_date, as_text(product)"""
LINES = MAPPINGS["order_items.lines"]
ROWS = [("1", "p", "1", "2.00"), ("1", "q", "0", "5.00"), ("2", "q", "2", "x"), (None, "r", "1", "1.00")]


def shop_of(
    folder: Path, lines: str, products: str | None = NAMED, reason: str | None = None, also: str | None = None
) -> tuple[TinyShop, duckdb.DuckDBPyConnection]:
    mappings = {"order_items.lines": lines} | ({"products.lines": products} if products else {})
    yml = SOURCE_YML + (f"left_out:\n  order_items.lines: {reason}\n" if reason else "")
    yml += f"  products.lines: {also}\n" if also else ""
    kept = {k: v for k, v in MAPPINGS.items() if k not in ("order_items.lines", "products.products")}
    shop = TinyShop(folder, {**kept, **mappings}, yml)
    return shop, shop.connect()


def load_all(shop: TinyShop, con: duckdb.DuckDBPyConnection) -> None:
    for entity in shop.filled:
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])


def accounts(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    """(entity, landed, used, superseded, rejected, left out)"""
    return con.execute(
        "select * exclude (_raw_table, _load_date) from silver.entity_accounting order by all"
    ).fetchall()


def test_a_money_line_lost_to_a_where_is_found_though_the_product_it_names_is_used(tmp_path: Path) -> None:
    shop, con = shop_of(tmp_path, LINES + " where as_integer(n) > 0")
    deliver(con, "lines", day(0), ROWS)
    load_all(shop, con)
    account(shop, con)
    assert con.execute("select * exclude (_raw_table, _load_date) from silver.row_accounting").fetchall() == [
        (4, 4, 0, 0, 0)
    ], "together nothing is missing"
    assert accounts(con) == [("order_items", 4, 1, 0, 2, 1), ("products", 4, 4, 0, 0, 0)]
    assert undeclared(con, shop.compiled["order_items"]) == [
        "order_items.lines.sql: its WHERE leaves out 1 of 4 rows of 2024-01-01, and no other mapping of order_items "
        "takes them: 2024-01-01/f.csv record 2"
    ]
    assert undeclared(con, shop.compiled["products"]) == []


def test_three_examples_of_the_newest_load_are_named_and_all_rows_counted(tmp_path: Path) -> None:
    shop, con = shop_of(tmp_path, LINES + " where as_integer(n) > 0")
    deliver(con, "lines", day(0), [("1", "p", "0", "1")])
    deliver(con, "lines", day(1), [("2", "p", str(n), "1") for n in (0, 1, 0, 0, 0)])
    load_all(shop, con)
    (said,) = undeclared(con, shop.compiled["order_items"])
    assert "leaves out 5 of 6 rows in 2 loads" in said
    assert said.endswith(": 2024-01-02/f.csv record 1, 2024-01-02/f.csv record 3, 2024-01-02/f.csv record 4, …"), said


def test_a_reason_in_source_yml_answers_the_warning_and_the_count_stays(tmp_path: Path) -> None:
    shop, con = shop_of(tmp_path, LINES + " where as_integer(n) > 0", reason="lines without goods sell nothing")
    deliver(con, "lines", day(0), ROWS)
    load_all(shop, con)
    account(shop, con)
    (mapping,) = shop.compiled["order_items"]
    assert undeclared(con, [mapping]) == []
    assert mapping.left_out == "lines without goods sell nothing"
    assert "leaves out 1 of 4 rows" in (left_out(con, mapping) or "")
    assert ("order_items", 4, 1, 0, 2, 1) in accounts(con)


FILTERED = NAMED.replace("group by", "where as_integer(n) > 0 group by")


@pytest.mark.parametrize("clause", ["where as_integer(n) > 0", "qualify as_integer(n) > 0"])
@pytest.mark.parametrize("products", [None, FILTERED])
def test_rows_that_every_mapping_drops_with_a_reason_are_accounted_for_by_count(
    tmp_path: Path, clause: str, products: str | None
) -> None:
    also = "nothing was sold of them" if products else None
    shop, con = shop_of(tmp_path, f"{LINES} {clause}", products, "lines without goods sell nothing", also)
    deliver(con, "lines", day(0), ROWS)
    deliver(con, "lines", day(1), [("1", "p", "0", "1"), ("1", "q", "0", "1"), ("9", "q", "3", "1.00")])
    load_all(shop, con)
    account(shop, con)
    used, rejected = (2, 1) if products else (1, 2)
    assert con.execute("select * exclude (_raw_table) from silver.row_accounting order by _load_date").fetchall() == [
        (day(0), 4, used, 0, rejected, 1), (day(1), 3, 1, 0, 0, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(("products", "reason"), [(None, None), (FILTERED, "lines without goods sell nothing")])
def test_rows_that_every_where_drops_stop_the_build_where_one_gives_no_reason(
    tmp_path: Path, products: str | None, reason: str | None
) -> None:
    shop, con = shop_of(tmp_path, LINES + " where as_integer(n) > 0", products, reason)
    deliver(con, "lines", day(0), ROWS)
    load_all(shop, con)
    with pytest.raises(BlockedError, match="every_landed_row_is_accounted_for: 1 rows"):
        account(shop, con)
    assert ("order_items", 4, 1, 0, 2, 1) in accounts(con), "the account by entity says which"


@pytest.mark.parametrize("clause", ["where as_integer(n) > 0", "qualify as_integer(n) > 0"])
def test_rows_that_a_qualify_drops_count_like_those_of_a_where(tmp_path: Path, clause: str) -> None:
    shop, con = shop_of(tmp_path, LINES + " " + clause)
    deliver(con, "lines", day(0), ROWS)
    load_all(shop, con)
    account(shop, con)
    assert ("order_items", 4, 1, 0, 2, 1) in accounts(con)
    (said,) = undeclared(con, shop.compiled["order_items"])
    assert clause.split()[0].upper() in said
    assert said.endswith("record 2")


def test_rows_that_every_qualify_drops_stop_the_build(tmp_path: Path) -> None:
    shop, con = shop_of(tmp_path, LINES + " qualify as_integer(n) > 0", None)
    deliver(con, "lines", day(0), ROWS)
    load_all(shop, con)
    with pytest.raises(BlockedError, match="every_landed_row_is_accounted_for: 1 rows"):
        account(shop, con)
    several, con = shop_of(
        tmp_path / "several", LINES + " qualify as_integer(n) > 0", NAMED.replace("group by", "where as_integer(n) > 0 group by")
    )  # fmt: skip
    deliver(con, "lines", day(0), ROWS)
    load_all(several, con)
    with pytest.raises(BlockedError, match="every_landed_row_is_accounted_for: 1 rows"):
        account(several, con)


@pytest.mark.parametrize("clause", ["where as_integer(n) > 0", "qualify as_integer(n) > 0"])
def test_the_accounts_add_up_when_a_load_is_set_aside_superseded_corrected_or_withdrawn(
    tmp_path: Path, clause: str
) -> None:
    shop, con = shop_of(tmp_path, LINES + " " + clause)
    deliver(con, "lines", day(0), [("1", "p", "1", "2.00"), ("1", "q", "0", "5.00")])
    deliver(con, "lines", day(1), [("1", "p", "3", "x" if n < 25 else "1") for n in range(30)] + [("1", "p", "0", "1")])
    load_all(shop, con)
    account(shop, con)
    aside = 31 if clause.startswith("qualify") else 30
    assert accounts(con)[:2] == [
        ("order_items", 2, 1, 0, 0, 1),
        ("order_items", 31, 0, 0, aside, 31 - aside),
    ]
    deliver(con, "lines", day(1), [("1", "p", "3", "2.00"), ("1", "q", "0", "5.00"), ("1", "q", "0", "5.00")])
    load_all(shop, con)
    account(shop, con)
    assert accounts(con)[:2] == [("order_items", 2, 0, 1, 0, 1), ("order_items", 3, 1, 0, 0, 2)]
    deliver(con, "lines", day(1), None)
    load_all(shop, con)
    account(shop, con)
    assert accounts(con)[0] == ("order_items", 2, 1, 0, 0, 1)
    assert len(accounts(con)) == 2


def test_a_rejected_row_of_another_raw_table_with_the_same_place_is_none_of_this_one(tmp_path: Path) -> None:
    shop, con = shop_of(tmp_path, LINES)
    deliver(con, "orders", day(0), [("1", "2024-01-01", "lost")])
    for number in (0, 1):
        deliver(con, "lines", day(number), [("1", "p", "1", "1")])
    load_all(shop, con)
    assert con.execute("select entity, _source_row from silver.rejects").fetchall() == [("orders", 1)]
    account(shop, con)
    assert con.execute(
        "select rows_landed, rows_used, rows_superseded, rows_rejected from silver.row_accounting "
        "where _raw_table = 'lines' order by _load_date"
    ).fetchall() == [(1, 0, 1, 0), (1, 1, 0, 0)]


def test_a_reason_without_a_where_or_without_words_is_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"left_out: order_items.lines: the mapping has neither") as refused:
        shop_of(tmp_path, LINES, reason="lines without goods sell nothing")
    line = int(str(refused.value.where).rsplit(":", 1)[1])
    assert (SOURCE_YML + "left_out:\n  order_items.lines: x").splitlines()[line - 1].strip() == "order_items.lines: x"
    with pytest.raises(DefinitionError, match="say which rows are left out, and why"):
        shop_of(tmp_path, LINES + " where as_integer(n) > 0", reason="'  ok   '")
    with pytest.raises(DefinitionError, match=r"left_out: there is no mapping orders.nowhere.sql"):
        TinyShop(tmp_path, MAPPINGS, SOURCE_YML + "left_out: {orders.nowhere: nothing of the kind}\n")
