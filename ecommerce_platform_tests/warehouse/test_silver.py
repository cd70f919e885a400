"""Filling entities: what converts, what is rejected and why, and which version of a key is current."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.silver.entities import EntityLoad, load_entity, loads_set_aside
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform.warehouse.contract_checks import BlockedError
from ecommerce_platform_tests.warehouse.shop import MAPPINGS, TinyShop, account, day, deliver


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    return TinyShop(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def con(shop: TinyShop) -> duckdb.DuckDBPyConnection:
    return shop.connect()


def load(shop: TinyShop, con: duckdb.DuckDBPyConnection, entity: str) -> EntityLoad:
    return load_entity(con, shop.catalog, shop.contracts[entity], shop.compiled[entity])


def rejects(con: duckdb.DuckDBPyConnection) -> list[tuple]:
    return con.execute(
        "select _source_row, reason_code, reason from silver.rejects order by entity, _load_date, _source_row"
    ).fetchall()


def test_a_row_that_does_not_convert_stands_in_rejects_with_column_value_and_raw_text(shop, con) -> None:
    deliver(con, "orders", day(0), [("1", "2024-01-01 10:00", "created"), ("2", "yesterday", "created")])
    loaded = load(shop, con, "orders")
    assert (loaded.rows, loaded.rejected) == (1, 1)
    ((number, code, reason),) = rejects(con)
    assert (number, code) == (2, "not_convertible")
    assert reason == 'ordered_at: placed "yesterday" is not a date or time (YYYY-MM-DD HH:MM:SS, without offset)'
    (raw,) = con.execute("select raw_row from silver.rejects").fetchone()
    assert json.loads(raw) == {"id": "2", "placed": "yesterday", "state": "created"}


def test_a_rejected_row_does_not_show_which_columns_other_deliveries_had(shop) -> None:
    seen = []
    for others in (("alpha", "zeta"), ("zeta", "alpha", "gone")):
        con = shop.connect()
        deliver(con, "orders", day(0), [(None, "2024-01-01", 'a "b"')])
        for name in others:
            con.execute(f"alter table bronze.tiny__orders add column {name} varchar")
        con.execute("update bronze.tiny__orders set alpha = 'é', zeta = ''")
        load(shop, con, "orders")
        seen.append(con.execute("select raw_row from silver.rejects").fetchall())
    assert seen[0] == seen[1] == [('{"id":null,"placed":"2024-01-01","state":"a \\"b\\"","alpha":"é","zeta":""}',)]


@pytest.mark.parametrize(
    ("row", "code", "says"),
    [
        ((None, "2024-01-01", "created"), "missing_required", "order_id is required (as_text(id) is empty)"),
        (("  ", "2024-01-01", "created"), "missing_required", "order_id is required"),
        (("1", None, "created"), "missing_required", "ordered_at is required"),
        (("1", "2024-01-01", "lost"), "not_accepted", 'status is one of created, approved'),
        (("1", "2024-01-01T10:00:00+02:00", "created"), "not_convertible", "without offset"),
        (("1", "2024-02-30", "created"), "not_convertible", '"2024-02-30"'),
    ],
)  # fmt: skip
def test_a_row_that_breaks_the_contract_is_rejected_with_its_reason(shop, con, row, code, says) -> None:
    deliver(con, "orders", day(0), [row])
    assert load(shop, con, "orders").rows == 0
    ((_, found, reason),) = rejects(con)
    assert found == code
    assert says in reason


def test_every_problem_of_a_row_is_named(shop, con) -> None:
    deliver(con, "lines", day(0), [("1", None, "1.5", "-2")])
    load(shop, con, "order_items")
    ((_, code, reason),) = rejects(con)
    assert code == "not_convertible"
    for part in ('quantity: n "1.5" is not a whole number', "product_id is required", "unit_price is at least 0"):
        assert part in reason


def test_a_value_that_several_columns_are_made_of_is_at_fault_once(tmp_path: Path) -> None:
    derived = """
        select as_text(order_id) || '-' || as_integer(n) as order_id, 1 as line_number, as_text(product) as product_id,
            as_integer(n) as quantity, as_decimal(price) as unit_price, as_integer(n) > 0 as is_valid
        from bronze.tiny__lines"""
    shop = TinyShop(tmp_path, {**MAPPINGS, "order_items.lines": derived})
    con = shop.connect()
    deliver(con, "lines", day(0), [("1", "p", "x", "2"), ("1", "p", "2", "2")])
    load(shop, con, "order_items")
    assert rejects(con) == [(1, "not_convertible", 'quantity: n "x" is not a whole number')]
    assert con.execute("select order_id, quantity from silver.order_items").fetchall() == [("1-2", 2)]


def test_a_group_that_breaks_a_rule_is_found_though_raw_columns_are_called_as_the_canonical_ones(
    tmp_path: Path,
) -> None:
    grouped = """
        select as_text(order_id) as order_id, as_text(product) as product_id, 1 as line_number,
            sum(as_integer(n)) as quantity, min(as_decimal(price)) as unit_price
        from bronze.tiny__lines
        group by _load_date, as_text(order_id), as_text(product)"""
    shop = TinyShop(tmp_path, {**MAPPINGS, "order_items.lines": grouped})
    con = shop.connect()
    deliver(con, "lines", day(0), [("1", "p", "1", "-2"), ("1", "p", "1", "2"), ("2", "p", "1", "2")])
    load(shop, con, "order_items")
    assert [(number, code) for number, code, _ in rejects(con)] == [(1, "out_of_range"), (2, "out_of_range")]
    assert con.execute("select order_id from silver.order_items").fetchall() == [("2",)]


def test_a_reject_inside_a_group_is_the_line_and_not_the_group(shop, con) -> None:
    deliver(con, "places", day(0), [("1", "10", "x"), ("1", "north", "y"), ("1", "30", "z"), ("2", "95", "x")])
    loaded = load(shop, con, "postal_codes")
    assert con.execute("select postal_code, latitude, city from silver.postal_codes").fetchall() == [("1", 20.0, "z")]
    assert [(number, code) for number, code, _ in rejects(con)] == [(2, "not_convertible"), (4, "out_of_range")]
    assert loaded.rejected == 2
    for entity in shop.filled:
        load(shop, con, entity)
    written = account(shop, con)
    assert written.rows == 1
    assert con.execute("select * exclude (_raw_table, _load_date) from silver.row_accounting").fetchall() == [
        (4, 2, 0, 2, 0)
    ]


def test_the_newest_load_wins_whatever_the_order_of_loads(shop) -> None:
    new, old = [("1", "2024-01-01", "delivered")], [("1", "2024-01-01", "created")]
    for order in ((0, 1), (1, 0)):
        con = shop.connect()
        for number in order:
            deliver(con, "orders", day(number), new if number else old)
            load(shop, con, "orders")
        assert con.execute("select status, _load_date from silver.orders").fetchall() == [("delivered", day(1))]


def test_a_row_that_comes_again_as_it_was_is_no_change_of_its_load(shop, con) -> None:
    row, other = ("1", "2024-01-01", "created"), ("2", "2024-01-01", "created")
    for number, rows in enumerate([[row, other], [row, (*other[:2], "delivered")]]):
        deliver(con, "orders", day(number), rows)
        counts = load(shop, con, "orders").loads
    assert con.execute("select _load_date from silver.orders").fetchall() == [(day(1),)] * 2, (
        "the newest load all the same"
    )
    assert (counts["orders", day(1)].accepted, counts["orders", day(1)].changed) == (2, 1)


def test_rejected_rows_that_are_gone_come_back_though_those_of_other_entities_and_loads_are_there(shop, con) -> None:
    for number in (0, 1):
        deliver(con, "orders", day(number), [(f"{number}", "2024-01-01", "lost")])
        deliver(con, "lines", day(number), [("1", None, "1", "2")])
    load(shop, con, "orders")
    load(shop, con, "order_items")
    for number in (0, 1):
        con.execute("delete from silver.rejects where entity = 'orders' and _load_date = ?", [day(number)])
        load(shop, con, "orders")
        assert con.execute("select count(*) from silver.rejects where entity = 'orders'").fetchall() == [(2,)]


def test_within_a_load_the_last_row_wins(shop, con) -> None:
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created"), ("1", "2024-01-01", "delivered")])
    load(shop, con, "orders")
    assert con.execute("select status, _source_row from silver.orders").fetchall() == [("delivered", 2)]


def test_a_corrected_drop_brings_the_version_before_back(shop, con) -> None:
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created")])
    deliver(con, "orders", day(1), [("2", "2024-01-02", "created"), ("1", "2024-01-01", "canceled")])
    load(shop, con, "orders")
    deliver(con, "orders", day(1), [("2", "2024-01-02", "created")])
    loaded = load(shop, con, "orders")
    assert con.execute("select order_id, status from silver.orders order by 1").fetchall() == [
        ("1", "created"), ("2", "created")
    ]  # fmt: skip
    assert (loaded.inserted, loaded.updated, loaded.deleted) == (0, 1, 0)


def test_a_rejected_newer_version_leaves_the_older_one_in_force(shop, con) -> None:
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created")])
    load(shop, con, "orders")
    deliver(con, "orders", day(1), [("1", "2024-01-01", "lost")])
    load(shop, con, "orders")
    assert con.execute("select status from silver.orders").fetchall() == [("created",)]
    assert len(rejects(con)) == 1


def test_a_full_delivery_alone_decides_which_keys_exist(shop, con) -> None:
    deliver(con, "products", day(0), [("a", "old", "1"), ("b", "old", "1"), ("c", "old", "1")])
    deliver(con, "products", day(1), [("a", "new", "2"), ("b", "new", "cheap")])
    load(shop, con, "products")
    # c is lacking and goes; b was delivered but rejected, so its version before stays.
    assert con.execute("select product_id, name from silver.products order by 1").fetchall() == [
        ("a", "new"), ("b", "old")
    ]  # fmt: skip


def test_a_rejected_row_without_a_key_keeps_no_lacking_key_alive(shop, con) -> None:
    deliver(con, "products", day(0), [("a", "old", "1"), ("b", "old", "1")])
    deliver(con, "products", day(1), [("a", "new", "1"), (None, "new", "1")])
    load(shop, con, "products")
    assert con.execute("select product_id from silver.products").fetchall() == [("a",)]


def test_a_full_delivery_without_usable_row_leaves_the_previous_in_force(shop, con) -> None:
    deliver(con, "products", day(0), [("a", "old", "1")])
    load(shop, con, "products")
    deliver(con, "products", day(1), [("a", "new", "cheap")])
    loaded = load(shop, con, "products")
    assert con.execute("select name from silver.products").fetchall() == [("old",)]
    assert "full delivery of products on 2024-01-02 has no usable row" in loaded.problems[0]


def test_the_newest_load_that_mentions_a_unit_replaces_all_of_it(shop, con) -> None:
    deliver(con, "lines", day(0), [("1", "p", "1", "1"), ("1", "q", "1", "1"), ("2", "p", "1", "1")])
    load(shop, con, "order_items")
    deliver(con, "lines", day(1), [("1", "r", "1", "1")])
    load(shop, con, "order_items")
    found = con.execute("select order_id, line_number, product_id from silver.order_items order by all").fetchall()
    assert found == [("1", 1, "r"), ("2", 1, "p")]


def test_a_removed_drop_takes_its_rows_away(shop, con) -> None:
    deliver(con, "crm", day(0), [("1", "a@x")])
    deliver(con, "web", day(0), [("1", "b@x")])
    load(shop, con, "customers")
    deliver(con, "crm", day(0), None)
    loaded = load(shop, con, "customers")
    assert con.execute("select customer_id from silver.customers").fetchall() == [("web-1",)]
    assert loaded.deleted == 1


def test_two_systems_with_the_same_keys_are_refused(tmp_path: Path) -> None:
    shop = TinyShop(tmp_path, {**MAPPINGS, "customers.web": MAPPINGS["customers.web"].replace("'web-'", "'crm-'")})
    con = shop.connect()
    deliver(con, "crm", day(0), [("1", "a@x")])
    load(shop, con, "customers")
    deliver(con, "web", day(1), [("1", "b@x")])
    with pytest.raises(DefinitionError, match="both deliver the key crm-1"):
        load(shop, con, "customers")
    fresh = shop.connect()
    deliver(fresh, "crm", day(0), [("1", "a@x")])
    deliver(fresh, "web", day(0), [("1", "b@x")])
    with pytest.raises(BlockedError, match="unique key"):
        load(shop, fresh, "customers")


def test_a_changed_mapping_rebuilds_the_entity(tmp_path: Path, shop, con) -> None:
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created")])
    load(shop, con, "orders")
    changed = TinyShop(
        tmp_path, {**MAPPINGS, "orders.orders": MAPPINGS["orders.orders"].replace("as_text(id)", "'o-' || as_text(id)")}
    )
    load(changed, con, "orders")
    assert con.execute("select order_id from silver.orders").fetchall() == [("o-1",)]


def test_text_reaching_a_typed_column_without_a_macro_is_refused(tmp_path: Path) -> None:
    shop = TinyShop(
        tmp_path, {**MAPPINGS, "orders.orders": MAPPINGS["orders.orders"].replace("as_timestamp(placed)", "placed")}
    )
    con = shop.connect()
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created")])
    with pytest.raises(
        DefinitionError, match=r"ordered_at is TIMESTAMP in silver\.orders, but the mapping gives VARCHAR"
    ):
        load(shop, con, "orders")


def test_a_row_that_a_mapping_drops_silently_fails_the_accounting(tmp_path: Path) -> None:
    shop = TinyShop(
        tmp_path, {**MAPPINGS, "orders.orders": MAPPINGS["orders.orders"] + " where as_text(state) <> 'lost'"}
    )
    con = shop.connect()
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created"), ("2", "2024-01-01", "lost")])
    for entity in shop.filled:
        load(shop, con, entity)
    with pytest.raises(BlockedError, match="every_landed_row_is_accounted_for: 1 rows"):
        account(shop, con)


def test_a_load_that_another_run_is_about_to_take_over_does_not_fail_the_accounting(shop, con) -> None:
    def accounted() -> tuple[list[tuple], list[str]]:
        written = account(shop, con)
        rows = con.execute(
            "select _load_date, rows_landed, rows_used, rows_superseded from silver.row_accounting order by all"
        ).fetchall()
        return rows, [check.name for check in written.checks if not check.passed]

    deliver(con, "orders", day(0), [("1", "2024-01-01", "created"), ("2", "2024-01-01", "created")])
    for entity in shop.filled:
        load(shop, con, entity)
    assert accounted() == ([(day(0), 2, 2, 0)], [])
    # Another run has loaded a new day and an old one again; its silver tables come later.
    deliver(con, "orders", day(1), [("3", "2024-01-02", "created")])
    assert accounted() == ([(day(0), 2, 2, 0)], ["every_load_is_taken_over"])
    deliver(con, "orders", day(0), [("1", "2024-01-01", "created")])
    assert accounted() == ([], ["every_load_is_taken_over"])
    for entity in shop.filled:
        load(shop, con, entity)
    assert accounted() == ([(day(0), 1, 1, 0), (day(1), 1, 1, 0)], [])


# -- conversion macros -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def macros() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")
    con.execute(MACROS.read_text())
    return con


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("as_id(' 17850.0 ')", "17850"), ("as_id('017850')", "017850"), ("as_id('v2.0')", "v2.0"),
        ("as_id('1.5')", "1.5"), ("as_id('1.')", "1."), ("as_id('')", None),
        ("as_integer('12')", 12), ("as_integer(' -3 ')", -3), ("as_integer('17850.0')", 17850),
        ("as_integer('12.5')", None), ("as_integer('1e3')", None), ("as_integer('1_000')", None),
        ("as_integer('99999999999')", None), ("as_integer('12 pcs')", None), ("as_integer('')", None),
        ("as_decimal('12.50')", Decimal("12.5000")), ("as_decimal('12,50')", None), ("as_decimal('EUR 5')", None),
        ("as_rate('0.00612345678')", Decimal("0.0061234568")), ("as_rate('1_0')", None),
        ("as_decimal_comma('1.234,56')", Decimal("1234.5600")), ("as_decimal_comma('1234,5')", Decimal("1234.5000")),
        ("as_decimal_comma('12.34')", None), ("as_decimal_comma('1,234.56')", None),
        ("""as_decimal_sum('[{"a": "1.5", "k": 1}, {"a": 2}, {}]', '$[*]', '$.a')""", Decimal("3.5000")),
        ("""as_decimal_sum('[{"a": "1.5", "k": 1}, {"a": 2}]', '$[*]', '$.a', '{"k": 1}')""", Decimal("1.5000")),
        ("""as_decimal_sum('[{"d": [{"a": 1}, {"a": 2}]}, {"d": []}]', '$[*].d[*]', '$.a')""", Decimal("3.0000")),
        ("as_decimal_sum('[]', '$[*]', '$.a')", Decimal("0.0000")), ("as_decimal_sum('', '$[*]', '$.a')", None),
        ("as_decimal_sum('none', '$[*]', '$.a')", None), ("""as_decimal_sum('[{"a": "x"}]', '$[*]', '$.a')""", None),
        ("as_double('nan')", None), ("as_double('inf')", None), ("as_double('-1.5')", -1.5),
        ("as_boolean('Yes')", True), ("as_boolean('0')", False), ("as_boolean('2')", None),
        ("cast(as_date('2024-01-31') as varchar)", "2024-01-31"), ("as_date('2024-01-31 10:00')", None),
        ("as_date('31.01.2024')", None), ("cast(as_date_format('31.01.2024', '%d.%m.%Y') as varchar)", "2024-01-31"),
        ("cast(as_timestamp('2024-01-31T10:00:00.5') as varchar)", "2024-01-31 10:00:00.5"),
        ("as_timestamp('2024-01-31T10:00:00Z')", None), ("as_timestamp('infinity')", None),
        ("as_timestamp('2024-01-31 10:00-03')", None), ("as_timestamp('01/02/2024')", None),
    ],
)  # fmt: skip
def test_a_macro_converts_exactly_or_not_at_all(macros, call: str, value: object) -> None:
    assert macros.execute(f"select {call}").fetchone() == (value,)


@settings(max_examples=150, deadline=None)
@given(st.decimals(min_value=-(10**13), max_value=10**13, places=4, allow_nan=False))
def test_every_exact_amount_survives_its_text(macros, amount: Decimal) -> None:
    text = f"{amount:f}"
    assert macros.execute("select as_decimal(?)", [text]).fetchone() == (amount,)
    assert macros.execute("select as_decimal_comma(?)", [text.replace(".", ",")]).fetchone() == (amount,)


@settings(max_examples=150, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_every_whole_number_survives_its_text(macros, number: int) -> None:
    assert macros.execute("select as_bigint(?)", [str(number)]).fetchone() == (number,)


@settings(max_examples=150, deadline=None)
@given(st.datetimes(min_value=__import__("datetime").datetime(1900, 1, 1)))
def test_every_time_survives_its_text(macros, moment) -> None:
    assert macros.execute("select as_timestamp(?)", [moment.isoformat()]).fetchone() == (moment,)
    assert macros.execute("select as_timestamp(?)", [moment.isoformat(sep=" ")]).fetchone() == (moment,)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12))
def test_text_that_is_no_number_never_becomes_one(macros, text: str) -> None:
    (number,) = macros.execute("select as_bigint(?)", [text]).fetchone()
    if number is not None:
        assert Decimal(text.strip().replace("\x00", "")) == number


def _orders(good: int, bad: int, first: int = 0) -> list[tuple[str, str, str]]:
    return [(f"{first + n}", "2024-01-01 10:00", "created") for n in range(good)] + [
        (f"bad-{first + n}", "10:00 Uhr", "created") for n in range(bad)
    ]


def test_a_load_of_which_too_much_is_rejected_is_set_aside_whole_and_the_versions_before_stay(shop, con) -> None:
    deliver(con, "orders", day(0), [("0", "2023-12-31", "created"), ("1", "2023-12-31", "created")])
    load(shop, con, "orders")
    deliver(con, "orders", day(1), _orders(good=19, bad=20))
    loaded = load(shop, con, "orders")
    assert con.execute("select order_id, cast(ordered_at as date) from silver.orders order by 1").fetchall() == [
        ("0", date(2023, 12, 31)),
        ("1", date(2023, 12, 31)),
    ]
    assert loaded.loads[("orders", day(1))].rejected == 39
    codes = con.execute("select reason_code, count(*) from silver.rejects group by all order by all").fetchall()
    assert codes == [("load_set_aside", 19), ("not_convertible", 20)]
    assert loads_set_aside(con, "orders") == [
        "orders of 2024-01-02: the load is set aside: 20 of its 39 rows were rejected, more than the 50% that are tolerated; "
        "most often: ordered_at: placed … is not a date or time (YYYY-MM-DD HH:MM:SS, without offset)"
    ]


@pytest.mark.parametrize(("good", "bad"), [(20, 20), (0, 19)], ids=["at the limit", "few rows"])
def test_a_load_at_the_limit_or_with_few_rejects_is_taken_over(shop, con, good: int, bad: int) -> None:
    deliver(con, "orders", day(0), _orders(good, bad))
    assert load(shop, con, "orders").rows == good
    assert loads_set_aside(con, "orders") == []


def test_a_load_that_was_set_aside_moves_over_once_its_file_is_put_right(shop, con) -> None:
    deliver(con, "orders", day(0), _orders(good=5, bad=30))
    load(shop, con, "orders")
    deliver(con, "orders", day(0), _orders(good=35, bad=0))
    assert load(shop, con, "orders").rows == 35
    assert rejects(con) == []


def test_setting_aside_does_not_depend_on_what_is_loaded_together(shop) -> None:
    loads = [(day(0), _orders(30, 0)), (day(1), _orders(10, 30)), (day(2), _orders(5, 2, first=100))]
    seen = []
    for batches in ([loads], [[one] for one in loads], [[one] for one in reversed(loads)]):
        con = shop.connect()
        for batch in batches:
            for on, rows in batch:
                deliver(con, "orders", on, rows)
            load(shop, con, "orders")
        seen.append(
            [
                con.execute("select order_id, _load_date from silver.orders order by all").fetchall(),
                con.execute(
                    "select _load_date, _source_row, reason_code, reason from silver.rejects order by all"
                ).fetchall(),
            ]
        )
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) == 35


def test_grouped_and_windowed_mappings_set_loads_aside_too(shop, con) -> None:
    deliver(
        con,
        "lines",
        day(0),
        [(f"{n}", "p", "1", "2.00") for n in range(5)] + [(f"{n}", "p", "one", "2.00") for n in range(25)],
    )
    deliver(con, "places", day(0), [("10115", "52.5", "Berlin")] * 5 + [("10115", "north", "Berlin")] * 25)
    assert load(shop, con, "order_items").rows == 0
    assert load(shop, con, "postal_codes").rows == 0
    found = con.execute("select entity, reason_code, count(*) from silver.rejects group by all order by all").fetchall()
    assert found == [
        ("order_items", "load_set_aside", 5),
        ("order_items", "not_convertible", 25),
        ("postal_codes", "load_set_aside", 5),
        ("postal_codes", "not_convertible", 25),
    ]
