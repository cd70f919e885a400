"""What a failing check shows: counts, examples, and the file and record that an offending row comes from."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.contract import Column, read_contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.warehouse.contract_checks import CheckResult, check_table, column_rules


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog()


@pytest.fixture
def con(catalog: Catalog) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema silver; create schema gold")
    for table in (
        "silver.orders",
        "silver.order_items",
        "silver.payments",
        "silver.customers",
        "gold.fct_payments",
        "gold.dim_date",
        "gold.dim_customer",
    ):
        con.execute(create_table_sql(catalog.contract(table)))
    con.execute(
        "insert into silver.orders by name select 'A' as order_id, timestamp '2024-01-01' as ordered_at, 'created' as status, "
        "true as is_valid, date '2024-01-02' as _load_date, 'orders' as _raw_table, 'orders.csv' as _source_file, 7 as _source_row"
    )
    con.execute("create table gold.fct_orders as select order_id from silver.orders")
    return con


def _pay(con: duckdb.DuckDBPyConnection, *rows: tuple[str, int, str | None]) -> None:
    for order, number, code in rows:
        con.execute(
            "insert into gold.fct_payments by name select ? as order_id, ? as payment_number, 'cash' as payment_method, "
            "? as payment_method_code, 1.0 as amount, date '2024-01-01' as order_date",
            [order, number, code],
        )


def _named(results: list[CheckResult], name: str) -> CheckResult:
    return next(r for r in results if r.name == name)


def _all(con: duckdb.DuckDBPyConnection, catalog: Catalog) -> list[CheckResult]:
    from ecommerce_platform.warehouse.contract_checks import BlockedError

    try:
        return check_table(con, catalog.contract("gold.fct_payments"))
    except BlockedError as error:
        return list(error.results)


def test_a_missing_parent_is_shown_with_the_delivered_record_that_names_it(con, catalog) -> None:
    _pay(con, ("A", 1, "c"))
    explained = _named(_all(con, catalog), "foreign_keys").explain()
    assert (
        "order_date → gold.dim_date.calendar_date: 1 rows, e.g. 2024-01-01 orders from 2024-01-02/orders.csv record 7"
        in explained
    )


def test_a_doubled_key_is_shown_with_its_origin_and_blocks(con, catalog) -> None:
    _pay(con, ("A", 1, "c"), ("A", 1, "c"), ("B", 1, "c"))
    result = _named(_all(con, catalog), "contract")
    assert (result.severity, result.passed) == ("block", False)
    assert (
        "unique key (order_id, payment_number): 1 rows, e.g. "
        "(order_id=A, payment_number=1, rows=2) orders from 2024-01-02/orders.csv record 7" in result.explain()
    )


def test_a_row_that_breaks_a_rule_is_shown_with_its_origin_where_it_has_one(con, catalog) -> None:
    _pay(con, ("A", 1, None), ("B", 1, None))
    explained = _named(_all(con, catalog), "contract").explain()
    assert (
        "payment_method_code is required: 2 rows, e.g. (order_id=A, payment_number=1) orders from "
        "2024-01-02/orders.csv record 7, (order_id=B, payment_number=1)" in explained
    )


def test_every_gold_table_with_an_entitys_key_leads_back_to_its_records(catalog) -> None:
    assert list(catalog.contract("gold.fct_order_items").traces)[:2] == ["order_items", "orders"]
    assert "orders" in catalog.contract("gold.fct_orders").traces
    assert catalog.contract("gold.kpi_summary").traces == {}


def test_what_leads_back_cannot_be_set_by_hand(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(
        "description: A table of its own.\ngrain: one row per a\nkey: [a]\ntraces: {orders: [a]}\n"
        "columns: {a: {type: VARCHAR, description: Key.}}\n"
    )
    with pytest.raises(DefinitionError, match="follows from the entities"):
        read_contract(tmp_path / "t.yml", "gold", "core")


def test_personal_data_is_masked_in_examples(con, catalog) -> None:
    from ecommerce_platform.contracts.contract import SqlCheck

    contract = catalog.contract("gold.dim_customer").model_copy(
        update={
            "checks": (
                SqlCheck(
                    name="c", description="Test.", sql="select person_id, email from gold.dim_customer", severity="warn"
                ),
            )
        }
    )
    con.execute("alter table gold.dim_customer drop column records")
    con.execute("insert into gold.dim_customer (person_id, customer_id, email) values ('p', 'c', 'a@example.org')")
    from ecommerce_platform.warehouse.contract_checks import _sql_check

    assert (
        _sql_check(con, contract, contract.checks[0], contract.checks[0].sql).explain()
        == "c: 1 rows, e.g. (person_id=p, email=•••)"
    )


@pytest.mark.parametrize(
    ("bounds", "value", "breaks"),
    [
        ({"max": 1234567}, "1234567", False),
        ({"max": 1234567}, "1234568", True),
        ({"min": 0.1234567891}, "0.123456789", True),
        ({"min": 0}, "'nan'::double", True),
        ({"max": 1}, "'nan'::double", True),
        ({"min": 0}, "'inf'::double", False),
    ],
)
def test_bounds_hold_to_the_last_digit_and_what_is_no_number_is_within_none(bounds, value: str, breaks: bool) -> None:
    column = Column(type="DOUBLE", description="A figure.", **bounds)
    [(reason, _, condition)] = column_rules("x", column, required=False)
    asked = duckdb.sql(f"select {condition} from (select cast({value} as double) as x)")
    assert asked.fetchall() == [(breaks,)]
    assert reason == "out_of_range"


@pytest.mark.parametrize(
    ("value", "breaks"),
    [
        ("1989-12-31 23:59:59", True),
        ("1990-01-01", False),
        ("2024-03-02 23:59:59", False),
        ("2024-03-03 00:00:00", True),
    ],
)
def test_what_has_happened_did_so_from_1990_to_the_end_of_the_day_after_the_delivery(value: str, breaks: bool) -> None:
    column = Column(type="TIMESTAMP", description="When it happened.", past=True)
    [(reason, _, condition)] = column_rules("x", column, required=False)
    rows = f"(select timestamp '{value}' as x, date '2024-03-01' as _load_date)"
    assert duckdb.sql(f"select {condition} from {rows}").fetchall() == [(breaks,)]
    assert reason == "out_of_range"


@pytest.mark.parametrize(("value", "breaks"), [("2023-12-31", True), ("2024-01-01", False)])
def test_a_date_may_be_the_first_one_that_is_allowed(value: str, breaks: bool) -> None:
    column = Column(type="DATE", description="A day.", min=date(2024, 1, 1))
    [(_, _, condition)] = column_rules("x", column, required=False)
    assert duckdb.sql(f"select {condition} from (select date '{value}' as x)").fetchall() == [(breaks,)]
