"""Named expressions of source.yml: what they stand for in mappings, what is refused, and which loads a change reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.entities import code_version, load_entity
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, SOURCE_YML, TinyShop, day, deliver

#: One name made of another, and one that needs parentheses wherever it stands.
EXPRESSIONS = {
    "order_key": "coalesce(order_text, 'row-' || as_text(product))",
    "order_text": "as_text(order_id)",
    "worth": "as_decimal(price) + 1",
}
NAMED = {
    **MAPPINGS,
    "order_items.lines": """
        select order_key as order_id,
            row_number() over (partition by _load_date, order_key order by _source_file, _source_row) as line_number,
            as_text(product) as product_id, as_integer(n) as quantity, worth * 2 as unit_price
        from bronze.tiny__lines""",
    "returns.lines": """
        select order_key || '-' || as_text(product) as return_id, order_text as order_id, as_integer(n) as quantity
        from bronze.tiny__lines where worth * 2 < 3""",
}
SAID = "left_out:\n  returns.lines: lines that cost more than a trifle are no returns\n"


def shop_with(folder: Path, expressions: dict[str, str] = EXPRESSIONS, **mappings: str) -> TinyShop:
    lines = "".join(f"  {name}: {sql}\n" for name, sql in expressions.items())
    yml = f"{SOURCE_YML}{SAID}expressions:\n{lines}"
    return TinyShop(folder, {**NAMED, **{name.replace("__", "."): sql for name, sql in mappings.items()}}, yml)


def versions(shop: TinyShop) -> dict[str, str]:
    return {entity: code_version(shop.contracts[entity], shop.compiled[entity]) for entity in shop.filled}


def test_a_mapping_reads_an_expression_by_its_name_wherever_a_raw_column_may_stand(tmp_path: Path) -> None:
    shop = shop_with(tmp_path)
    con = shop.connect()
    deliver(con, "lines", day(0), [("1", "p", "1", "2.00"), (None, "q", "2", "0.75"), ("1", "r", "1", "0.25")])
    for entity in ("order_items", "returns"):
        load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])
    rows = con.execute(
        "select order_id, line_number, unit_price::double from silver.order_items order by all"
    ).fetchall()
    assert rows == [("1", 1, 6.0), ("1", 2, 2.5), ("row-q", 1, 3.5)], "(price + 1) * 2"
    assert con.execute("select return_id, order_id from silver.returns").fetchall() == [("1-r", "1")]


def test_a_value_that_a_named_conversion_cannot_convert_rejects_its_row_by_the_raw_columns_name(tmp_path: Path) -> None:
    shop = shop_with(tmp_path)
    con = shop.connect()
    deliver(con, "lines", day(0), [("1", "p", "1", "2.00"), ("1", "q", "1", "cheap")])
    load_entity(con, shop.catalog, shop.contracts["order_items"], shop.compiled["order_items"])
    assert con.execute("select reason from silver.rejects").fetchall() == [
        ('unit_price: price "cheap" is not an amount with a decimal point',)
    ]


def test_lineage_leads_through_names_to_the_raw_columns(tmp_path: Path) -> None:
    (mapping,) = shop_with(tmp_path).compiled["order_items"]
    assert mapping.column_sources()["order_id"] == ("order_id", "product")
    assert "order_key" not in mapping.raw_columns
    assert mapping.named == EXPRESSIONS


def test_a_raw_column_of_the_same_name_is_read_with_its_table(tmp_path: Path) -> None:
    shop = shop_with(
        tmp_path,
        {**EXPRESSIONS, "state": "as_text(lines.state)"},
        products__products="select state as product_id, as_text(products.state) as name from bronze.tiny__products as products",
    )
    assert shop.compiled["products"][0].expressions == {
        "product_id": "as_text(lines.state)", "name": "as_text(products.state)",
    }  # fmt: skip


def test_an_expression_called_as_the_column_it_fills_needs_no_alias(tmp_path: Path) -> None:
    crm = "select 'crm-' || as_text(id) as customer_id,\n    email\nfrom bronze.tiny__crm"
    shop = shop_with(tmp_path, {**EXPRESSIONS, "email": "lower(as_text(mail))"}, customers__crm=crm)
    mapping = shop.compiled["customers"][0]
    assert (mapping.expressions["email"], mapping.lines["email"]) == ("LOWER(as_text(mail))", 2)


def test_what_orders_gathered_values_may_be_called_by_name(tmp_path: Path) -> None:
    yml = (
        SOURCE_YML + "expressions: {placed_at: as_timestamp(placed)}\ngathered: {orders.orders: {status: placed_at}}\n"
    )
    (mapping,) = TinyShop(tmp_path, source_yml=yml).compiled["orders"]
    assert (mapping.gathered, mapping.named) == (
        {"status": "as_timestamp(placed)"},
        {"placed_at": "as_timestamp(placed)"},
    )


def test_loads_are_taken_over_again_when_an_expression_of_theirs_changes_and_not_otherwise(tmp_path: Path) -> None:
    before = versions(shop_with(tmp_path / "1"))
    assert versions(shop_with(tmp_path / "2")) == before
    other_worth = versions(shop_with(tmp_path / "3", {**EXPRESSIONS, "worth": "as_decimal(price) + 2"}))
    assert {e for e in before if other_worth[e] != before[e]} == {"order_items", "returns"}
    other_part = versions(shop_with(tmp_path / "4", {**EXPRESSIONS, "order_text": "as_id(order_id)"}))
    assert {e for e in before if other_part[e] != before[e]} == {"order_items", "returns"}
    # An expression for others says nothing to those that do not name it.
    more = {**EXPRESSIONS, "mail": "as_text(mail)"}
    crm = "select 'crm-' || as_text(id) as customer_id, mail as email from bronze.tiny__crm"
    added = versions(
        shop_with(tmp_path / "5", {n: s.replace("(mail)", "(crm.mail)") for n, s in more.items()}, customers__crm=crm)
    )
    assert {e for e in before if added[e] != before[e]} == {"customers"}
    reordered = versions(shop_with(tmp_path / "6", dict(reversed(EXPRESSIONS.items()))))
    assert reordered == before


@pytest.mark.parametrize(
    ("expressions", "line", "said", "fix"),
    [
        ({"worth": "as_decimal(price"}, 20, "'as_decimal(price' is not an expression over one raw row", "write SQL over"),
        ({"worth": "sum(as_decimal(price))"}, 20, "is not an expression over one raw row", "write SQL over"),
        ({"worth": "row_number() over ()"}, 20, "is not an expression over one raw row", "write SQL over"),
        ({"worth": "(select 1)"}, 20, "is not an expression over one raw row", "write SQL over"),
        ({"worth": "cast(price as double)"}, 20, "converts text without reporting what it cannot convert", "use one of"),
        ({"worth": "as_money(price)"}, 20, "there is no macro 'as_money'", "use one of as_text"),
        ({"worth": "a_bit + 1", "a_bit": "worth / 2"}, 20, "made of itself (worth → a_bit → worth)", "<raw table>.<column>"),
        ({"worth": "worth + 1"}, 20, "it is made of itself (worth → worth)", "<raw table>.<column>"),
        ({"worth": "as_decimal(price)", "wort": "as_text(n)"}, 21, "no mapping names it", "name it in a mapping"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused_with_its_line(
    tmp_path: Path, expressions: dict[str, str], line: int, said: str, fix: str
) -> None:
    first = {name: sql for name, sql in EXPRESSIONS.items() if name != "worth"}
    with pytest.raises(DefinitionError) as error:
        shop_with(tmp_path, {**first, **expressions})
    assert said in str(error.value)
    assert f"source.yml:{line}" in str(error.value)
    assert fix in str(error.value)


def test_a_name_that_an_agreed_raw_column_has_is_refused(tmp_path: Path) -> None:
    yml = SOURCE_YML.replace("delivery: delta}\n  lines", "delivery: delta, columns: [id, Placed]}\n  lines", 1)
    with pytest.raises(DefinitionError, match="the raw table orders has a column of that name"):
        TinyShop(tmp_path, source_yml=yml + "expressions: {placed: as_timestamp(id)}\n")


def test_a_mistake_where_a_name_is_used_is_told_with_the_mappings_line(tmp_path: Path) -> None:
    wrong = "select\n    order_key as order_id,\n    worth as no_such_column\nfrom bronze.tiny__orders"
    with pytest.raises(DefinitionError, match=r"orders\.orders\.sql:3") as error:
        shop_with(tmp_path, orders__orders=wrong)
    assert "'no_such_column' is not a column of silver.orders" in str(error.value)
