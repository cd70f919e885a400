"""What values are, and which macro converts them: every proposal is run."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from ecommerce_platform.scaffold.profile import Column, best_form, profile, sql_name


def table(con: duckdb.DuckDBPyConnection, **columns: list[str]) -> dict[str, Column]:
    con.execute(
        "create or replace table t as select " + ", ".join(f"unnest(?::varchar[]) as {c}" for c in columns),
        list(columns.values()),
    )
    return profile(con, "t", list(columns))


@pytest.mark.parametrize(
    ("values", "kind", "sql", "first"),
    [
        (["1", "22"], "INTEGER", "as_integer(x)", 1),
        (["3,00", "12,00"], "INTEGER", "as_integer(replace(x, ',', '.'))", 3),
        (["1,200", "15"], "INTEGER", "as_integer(replace(x, ',', ''))", 1200),
        (["1.5", "2"], "DECIMAL(18,4)", "as_decimal(x)", Decimal("1.5")),
        (["1.234,56", "2,5"], "DECIMAL(18,4)", "as_decimal_comma(x)", Decimal("1234.56")),
        (["1,234.56", "2.50"], "DECIMAL(18,4)", "as_decimal(replace(x, ',', ''))", Decimal("1234.56")),
        (["1,200", "3,500"], "DECIMAL(18,4)", "as_decimal(replace(x, ',', ''))", Decimal(1200)),
        (["0,125", "3,500"], "DECIMAL(18,4)", "as_decimal_comma(x)", Decimal("0.125")),
        (["12,50 €", "3,00 €"], "DECIMAL(18,4)", "as_decimal_comma(replace(x, '€', ''))", Decimal("12.5")),
        (["$1,000.00", "$2.00"], "DECIMAL(18,4)", "as_decimal(replace(replace(x, '$', ''), ',', ''))", Decimal(1000)),
        (["1\u202f234,56 €", "2,00 €"], "DECIMAL(18,4)", None, Decimal("1234.56")),
        (["1'234.50", "2.00"], "DECIMAL(18,4)", None, Decimal("1234.5")),
        (["52.5", "-3.1"], "DOUBLE", "as_double(x)", 52.5),
        (["52,5", "-3,1"], "DOUBLE", None, 52.5),
        (["1", "0", "1"], "BOOLEAN", "as_boolean(x)", True),
        (["ja", "nein"], "BOOLEAN", None, True),
        (["2024-01-31", "2024-02-01"], "DATE", "as_date(x)", date(2024, 1, 31)),
        (["2024-01-31 10:00:00"], "TIMESTAMP", "as_timestamp(x)", datetime(2024, 1, 31, 10)),
        (["31.12.2024", "1.2.2024"], "TIMESTAMP", "as_timestamp_format(x, '%d.%m.%Y')", datetime(2024, 12, 31)),
        (["31/12/24", "01/02/24"], "DATE", "as_date_format(x, '%d/%m/%y')", date(2024, 12, 31)),
        (["12/31/2024 2:05 PM"], "TIMESTAMP", "as_timestamp_format(x, '%m/%d/%Y %I:%M %p')", datetime(2024, 12, 31, 14, 5)),
        (["20241231", "20240102"], "DATE", "as_date_format(x, '%Y%m%d')", date(2024, 12, 31)),
        (["31-Dec-2024", "01-Feb-2024"], "DATE", "as_date_format(x, '%d-%b-%Y')", date(2024, 12, 31)),
        (["31.12.2024 8:05", "30.12.2024"], "TIMESTAMP", "as_timestamp_format(x, ['%d.%m.%Y %H:%M', '%d.%m.%Y'])", datetime(2024, 12, 31, 8, 5)),
        (["1.50", "N/A"], "DECIMAL(18,4)", "as_decimal(nullif(x, 'N/A'))", Decimal("1.5")),
    ],
)  # fmt: skip
def test_the_macro_that_fits_is_found(
    macros: duckdb.DuckDBPyConnection, values: list[str], kind: str, sql: str | None, first: Any
) -> None:
    form = best_form(macros, [(v, 1) for v in values], kind)
    assert form is not None
    if sql is not None:
        assert form.of("x") == sql
    found = macros.execute(f"select {form.of('x')} from (select unnest(?::varchar[]) as x)", [values]).fetchall()
    assert found[0][0] == first
    assert all(value is not None for (value,), text in zip(found, values, strict=True) if text != "N/A")


@pytest.mark.parametrize("values", [["P-17", "P-18"], ["H100", "H101"], ["abc", "1"], ["12 kg", "1 lb"]])
def test_codes_are_no_numbers(macros: duckdb.DuckDBPyConnection, values: list[str]) -> None:
    assert best_form(macros, [(v, 1) for v in values], "DECIMAL(18,4)") is None


def test_a_header_in_the_middle_and_a_total_do_not_hide_what_a_column_is(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, fecha=["31/12/2024"] * 40 + ["Fecha", "TOTAL"])
    form = found["fecha"].form("TIMESTAMP")
    assert form is not None
    assert (form.order, form.rows) == ("day", 40)


def test_codes_of_which_most_are_numbers_are_no_numbers(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, code=["22633"] * 30 + ["85123A", "TOTAL"], count=["1", "7", "12"] * 10 + ["TOTAL"])
    assert found["code"].described == "codes, most of them whole numbers"
    assert found["count"].described == "whole number"


def test_days_after_the_12th_in_one_column_tell_for_the_others(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, placed=["03/04/2024", "05/06/2024"], sent=["03/14/2024", "05/06/2024"])
    assert found["placed"].forms["timestamp"].order == "month"
    assert not found["placed"].ambiguous


def test_dates_that_could_be_either_say_so(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, placed=["03/04/2024", "05/06/2024"])
    assert "timestamp" in found["placed"].ambiguous
    assert "the other way round" in found["placed"].described


def test_whole_amounts_get_the_mark_of_their_neighbours(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, price=["12,50", "3,10"], fee=["1.200", "5"], points=["1", "2"])
    assert found["fee"].forms["decimal"].of("x") == "as_decimal_comma(x)"
    alone = table(macros, fee=["1.200", "5.000"])
    assert "may be a thousand" in alone["fee"].forms["decimal"].doubt


def test_times_with_an_offset_are_told_from_local_ones(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, placed=["2024-01-01T10:00:00+01:00", "2024-07-01T10:00:00+02:00"])
    assert found["placed"].offset
    assert not found["placed"].dated


def test_counts_are_those_of_the_column(macros: duckdb.DuckDBPyConnection) -> None:
    found = table(macros, code=["a", "b", "a", "", "  "])
    column = found["code"]
    assert (column.rows, column.filled, column.distinct, column.unique) == (5, 3, 2, False)


def test_names_are_quoted_where_sql_wants_it() -> None:
    assert [sql_name(n) for n in ("price", "Precio unitario", "order", "Año", 'a"b')] == [
        "price", '"Precio unitario"', '"order"', '"Año"', '"a""b"',
    ]  # fmt: skip
