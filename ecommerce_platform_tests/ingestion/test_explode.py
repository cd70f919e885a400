"""Raw tables made of the elements of arrays: what stands in them, with which place, and what is said of what does not fit."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import DefinitionError, DefinitionErrors
from ecommerce_platform_tests.warehouse.exploded_shop import MAPPINGS, SOURCE_YML, ExplodedShop

DAY = date(2024, 5, 1)
ORDERS = [
    {
        "id": 1,
        "placed": "2024-04-01",
        "cart": {"lines": [{"product": "p", "n": 2, "price": "1.50"}, {"product": "q", "n": 1, "price": "3"}]},
        "refunds": [
            {"id": "r1", "total": "1.5", "lines": [{"line": 1}], "parcels": [{"number": "x1"}, {"number": "x2"}]},
            {"id": "r2", "total": "3", "lines": [{"line": 2}, {"line": 1}]},
        ],
    },
    {"id": 2, "placed": "2024-04-02", "cart": {"lines": []}, "refunds": None},
    {"id": 3, "placed": "2024-04-03", "cart": {"lines": [{"product": "p", "n": 1, "price": 1.5, "gift": True}]}},
]


@pytest.fixture
def shop(tmp_path: Path) -> ExplodedShop:
    return ExplodedShop(tmp_path)


def rows(con: duckdb.DuckDBPyConnection, raw: str, *columns: str) -> list[tuple]:
    return con.execute(
        f"select {', '.join(columns)} from bronze.tiny__{raw} order by _load_date, _source_file, _source_row"
    ).fetchall()


@pytest.mark.parametrize("name", ["orders.json", "orders.jsonl"])
def test_each_element_is_a_row_with_its_own_fields_its_place_and_the_values_of_the_records_around_it(
    shop, name
) -> None:
    shop.drop(DAY, {name: ORDERS})
    con = shop.connect()
    loaded = shop.load(con)
    assert rows(con, "lines", "_source_row", "_parent_row", "_position", "order_id", "placed", "product", "price", "gift") == [
        (1, 1, 1, "1", "2024-04-01", "p", "1.50", None),
        (2, 1, 2, "1", "2024-04-01", "q", "3", None),
        (3, 3, 1, "3", "2024-04-03", "p", "1.5", "true"),
    ]  # fmt: skip
    assert loaded["lines"].rows_per_day == {DAY: (3, 0)}
    assert not loaded["lines"].problems
    assert con.execute("select order_id, line_number, quantity from silver.order_items order by all").fetchall() == [
        ("1", 1, 2), ("1", 2, 1), ("3", 1, 1),
    ]  # fmt: skip


def test_arrays_in_arrays_are_read_through_their_elements_and_through_tables_made_from_arrays_alike(shop) -> None:
    shop.drop(DAY, {"orders.json": ORDERS})
    con = shop.connect()
    shop.load(con)
    assert rows(con, "refund_lines", "_source_row", "_parent_row", "_position", "order_id", "refund_id", "refund", "line") == [
        (1, 1, 1, "1", "r1", "1", "1"),
        (2, 1, 1, "1", "r2", "2", "2"),
        (3, 1, 2, "1", "r2", "2", "1"),
    ]  # fmt: skip
    assert rows(con, "parcels", "_source_row", "_position", "order_id", "refund_id", "place", "number") == [
        (1, 1, "1", "r1", "1", "x1"),
        (2, 2, "1", "r1", "1", "x2"),
    ]


def test_what_is_in_an_array_and_no_record_is_rejected_by_file_record_and_place(shop) -> None:
    orders = [
        {"id": 1, "placed": "2024-04-01", "cart": {"lines": [{"product": "p", "n": 1, "price": 1}, 7, None, [1], "x"]}},
        {"id": 2, "placed": "2024-04-01", "cart": {"lines": {"0": {"product": "p"}}}, "refunds": "[broken"},
        {"id": 3, "placed": "2024-04-01", "refunds": [{"id": "r", "lines": 5, "parcels": [3]}, "no"]},
    ]
    text = json.dumps(orders).replace('"n": 1,', '"n": 1, "n": 2,')
    shop.drop(DAY, {"orders.json": text})
    con = shop.connect()
    loaded = shop.load(con)
    found = con.execute(
        "select raw_table, _source_file, line, reason_code, reason, raw_text from bronze.rejects order by raw_table, reject_number"
    ).fetchall()
    assert [r[:4] for r in found if r[0] == "lines"] == [
        ("lines", "orders.json", 1, "duplicate_key"),
        *[("lines", "orders.json", 1, "not_an_object")] * 4,
        ("lines", "orders.json", 2, "not_an_array"),
    ]
    said = [r[4] for r in found]
    assert "record 1, cart.lines[2]: an element is an object {…}; this is a number" in said
    assert "record 1, cart.lines[3]: an element is an object {…}; this is null" in said
    assert "record 2, cart.lines: this is an object, where lines expects a list of objects [{…}, …]" in said
    assert "record 2, refunds[1]: an element is an object {…}; this is a text" in said
    assert "record 3, refunds[1].lines: this is a number, where refund_lines expects a list of objects [{…}, …]" in said
    assert "record 3, refunds[1].parcels[1]: an element is an object {…}; this is a number" in said
    assert "record 3, refunds[2]: an element is an object {…}; this is a text" in said
    assert any("6 of 6 records cannot be parsed" in problem for _, problem in loaded["lines"].problems)


def test_records_without_elements_are_noted_with_what_they_stand_for(shop) -> None:
    shop.drop(DAY, {"orders.json": ORDERS})
    con = shop.connect()
    shop.load(con)
    found = con.execute("select raw_table, number, parent_row, parent from bronze.empty_arrays order by all").fetchall()
    assert [(raw, number, row, json.loads(parent)) for raw, number, row, parent in found] == [
        ("lines", 1, 2, {"order_id": "2", "placed": "2024-04-02"}),
        ("parcels", 1, 1, {"order_id": "1", "refund_id": "r2", "place": "2"}),
        ("refund_lines", 1, 2, {"order_id": "2", "refund_id": None, "refund": None}),
        ("refund_lines", 2, 3, {"order_id": "3", "refund_id": None, "refund": None}),
        ("refunds", 1, 2, {"order_id": "2"}),
        ("refunds", 2, 3, {"order_id": "3"}),
    ]


def test_a_field_called_like_a_column_of_the_record_around_gets_a_name_of_its_own(shop) -> None:
    line = {
        "product": "p",
        "n": 1,
        "price": 1,
        "order_id": "mine",
        "ORDER_ID": "too",
        "_position": 9,
        "a.b": {"c": [1]},
    }
    shop.drop(DAY, {"orders.json": [{"id": 5, "placed": "2024-04-01", "cart": {"lines": [line]}}]})
    con = shop.connect()
    shop.load(con)
    assert rows(con, "lines", "order_id", "order_id_2", '"ORDER_ID_3"', "_position", "_position_2", '"a.b"') == [
        ("5", "mine", "too", 1, "9", '{"c":[1]}')
    ]


def test_tables_from_arrays_follow_the_files_that_the_arrays_stand_in(shop) -> None:
    con = shop.connect()
    shop.drop(DAY, {"orders.json": ORDERS, "orders_2.json": [{**ORDERS[0], "id": 9}]})
    shop.load(con)
    assert {name for (name,) in con.execute("select distinct _source_file from bronze.tiny__lines").fetchall()} == {
        "orders.json", "orders_2.json",
    }  # fmt: skip
    assert all(not load.files for load in shop.load(con).values())  # nothing is pending
    shop.drop(DAY, {"orders.json": ORDERS[:1]})
    loaded = shop.load(con)
    assert (loaded["lines"].rows_deleted, loaded["lines"].rows_inserted) == (5, 2)
    books = con.execute("select raw_table, rows_loaded, sha256 from bronze.files order by raw_table").fetchall()
    assert [book[:2] for book in books] == [
        ("lines", 2),
        ("orders", 1),
        ("parcels", 2),
        ("refund_lines", 3),
        ("refunds", 2),
    ]
    assert len({book[2] for book in books}) == 1


def test_an_array_that_stands_as_text_in_a_csv_cell_is_read_too(tmp_path) -> None:
    shop = ExplodedShop(
        tmp_path,
        SOURCE_YML.replace("orders*.json*", "orders*.csv").replace("orders.cart.lines", "orders.lines"),
    )
    cell = '" [{""product"": ""p"", ""n"": 1, ""price"": 2}]"'
    shop.drop(
        DAY, {"orders.csv": f"id,placed,lines,refunds\n1,2024-04-01,{cell},\n2,2024-04-01,[ ],\n3,2024-04-01,[oops,\n"}
    )
    con = shop.connect()
    shop.load(con)
    assert rows(con, "lines", "order_id", "product", "price") == [("1", "p", "2")]
    assert con.execute("select line, raw_text from bronze.rejects where raw_table = 'lines'").fetchall() == [
        (3, '"[oops"')
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("orders.cart.lines", "sales.cart.lines", "there is no raw table 'sales' → begin with one of orders"),
        ("orders.cart.lines", "orders", "write <raw table>.<key of the array>"),
        ("orders.cart.lines", "orders.cart..lines", "is no path"),
        ("orders.cart.lines", "lines.more", "made from one another: lines → lines"),
        ("placed: placed", 'placed: "lines[].x"', "leads into an array that is not on the way"),
        ("placed: placed", "Placed: placed", "not lower snake_case"),
        (
            "description: Lines of an order.",
            "description: Lines of an order.\n    delivery: full",
            "leave delivery out",
        ),
        ('files: ["orders*.json*"], ', "", "files is missing"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_line(tmp_path, old, new, said) -> None:
    with pytest.raises((DefinitionError, DefinitionErrors)) as caught:
        ExplodedShop(tmp_path, SOURCE_YML.replace(old, new))
    message = str(caught.value).replace("\n  →", " →")
    assert said in message
    assert "source.yml:" in message


def test_a_unit_that_an_empty_array_could_not_mention_is_refused(tmp_path) -> None:
    own = MAPPINGS["returns.refunds"].replace("as_text(order_id)", "as_text(invoice)")
    with pytest.raises((DefinitionError, DefinitionErrors), match="made of invoice, which an empty array has not"):
        ExplodedShop(tmp_path, mappings={**MAPPINGS, "returns.refunds": own})
