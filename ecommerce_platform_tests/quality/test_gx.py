"""How rules are asked: what is relied upon in Great Expectations, errors that are errors, and what is never shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.quality.gx import MASK, Verdict, ask, load, unmarked_columns
from ecommerce_platform.quality.suites import Suite, read_suites
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.quality.good_shop import fill

CATALOG = read_catalog()


def suite(folder: Path, table: str, *rules: dict[str, object]) -> Suite:
    """A suite from the parts of its rules; names and sentences are filled in."""
    numbered = [
        {"name": f"rule_{n}", "rule": f"This is the rule number {n}.", "severity": "warn", **rule}
        for n, rule in enumerate(rules)
    ]
    folder.mkdir(exist_ok=True)
    (folder / f"{table}.yml").write_text(json.dumps({"description": "Made for a test.", "expectations": numbered}))
    return read_suites(CATALOG, CATALOG.tables, CATALOG.entities, folder=folder)[table]


@pytest.fixture
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        fill(con, CATALOG, ["gold.fct_orders", "silver.customers", "gold.kpi_daily"])
        yield con


def verdicts(con: duckdb.DuckDBPyConnection, asked: Suite) -> tuple[Verdict, ...]:
    return ask(con, [asked], CATALOG)[0].verdicts


def test_great_expectations_is_as_the_detour_to_duckdb_needs_it() -> None:
    """When this fails after an upgrade, read docs/decisions/0017 before anything else."""
    load()  # else it takes a process of the tests for one of doctests, by way of Spark, and ends it
    import duckdb_engine
    import great_expectations
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine
    from great_expectations.execution_engine.sqlalchemy_dialect import GXSqlDialect

    assert great_expectations.__version__ == "1.24.1"
    # A tuple that is compared with the dialect's name as text, and whose members have a value.
    assert isinstance(engine._PERSISTED_CONNECTION_DIALECTS, tuple)
    assert {GXSqlDialect.SQLITE, GXSqlDialect.SQL_SERVER} <= set(engine._PERSISTED_CONNECTION_DIALECTS)
    assert not hasattr(GXSqlDialect, "DUCKDB"), "it knows DuckDB now: the detour may not be needed any more"
    # Transactions are begun and ended by methods of the connection, which can be made to do nothing.
    wrapped = duckdb_engine.ConnectionWrapper(duckdb.connect())
    assert all(callable(getattr(wrapped, name)) for name in ("begin", "commit", "rollback"))


def test_a_rule_that_raises_is_an_error_and_leaves_the_others_alone(
    shop: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    between = "expect_column_values_to_be_between"
    asked = suite(
        tmp_path / "suites",
        "gold.fct_orders",
        {"rows": "select nothing_of_that_name from gold.fct_orders"},
        {"rows": "select cast(status as integer) as number from gold.fct_orders"},
        {"expect": "expect_the_unexpected", "with": {"column": "order_id"}},
        {"expect": between, "with": {"column": "delivery_days", "at_most": 3}},
        {"expect": between, "with": {"column": "status", "max_value": 3}},
        {"expect": "expect_column_pair_values_to_be_equal", "with": {"column_A": "nope", "column_B": "status"}},
        {"rows": "select order_id from gold.fct_orders where delivery_days > 3"},
        {"expect": between, "with": {"column": "delivery_days", "max_value": 2}},
    )
    found = verdicts(shop, asked)
    assert [v.outcome for v in found] == ["error"] * 6 + ["held", "broken"]
    for number, verdict in enumerate(found[:6]):
        assert (verdict.found, verdict.examples) == (None, ())
        assert asked.where(f"rule_{number}") in (verdict.detail or "")
        assert "could not be asked" in verdict.explain()
    assert "nothing_of_that_name" in (found[0].detail or "")
    assert "at_most" in (found[3].detail or "")
    assert found[7].found == 400


def test_an_error_of_a_blocking_rule_blocks_and_one_of_a_warning_does_not() -> None:
    def verdict(severity: str, outcome: str) -> Verdict:
        return Verdict("r", "A rule.", severity, outcome)  # type: ignore[arg-type]

    blocks = {(s, o) for s in ("block", "warn") for o in ("held", "broken", "error", "no data") if verdict(s, o).blocks}
    assert blocks == {("block", "broken"), ("block", "error")}


def test_expectations_of_every_kind_are_answered(shop: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    asked = suite(
        tmp_path / "suites",
        "gold.fct_orders",
        {"expect": "expect_column_mean_to_be_between", "with": {"column": "revenue_amount", "min_value": 50}},
        {"expect": "expect_column_median_to_be_between", "with": {"column": "revenue_amount", "max_value": 5}},
        {"expect": "expect_column_values_to_not_be_null", "with": {"column": "approved_at"}},
        {"expect": "expect_column_values_to_be_unique", "with": {"column": "person_id"}},
        {"expect": "expect_column_values_to_be_in_set", "with": {"column": "status", "value_set": ["shipped"]}},
        {
            "expect": "expect_column_distinct_values_to_be_in_set",
            "with": {"column": "status", "value_set": ["shipped"]},
        },
        {"expect": "expect_table_row_count_to_be_between", "with": {"min_value": 401}},
        {
            "expect": "expect_column_pair_values_a_to_be_greater_than_b",
            "with": {"column_A": "ordered_at", "column_B": "approved_at"},
        },
        {
            "expect": "expect_column_values_to_be_between",
            "with": {"column": "delivery_days", "max_value": 2, "row_condition": 'col("order_id") == "O1"'},
        },
        {
            "expect": "expect_column_quantile_values_to_be_between",
            "with": {
                "column": "delivery_days",
                "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[4, 5]]},
            },
        },
        {"expect": "expect_column_mean_to_be_between", "with": {"column": "satisfaction_score", "min_value": 1}},
        {"expect": "expect_compound_columns_to_be_unique", "with": {"column_list": ["status", "is_valid"]}},
    )
    found = {v.rule: v for v in verdicts(shop, asked)}
    outcomes = {n: v.outcome for n, v in found.items()}
    assert outcomes == {f"rule_{n}": "broken" for n in range(12)} | {"rule_2": "held", "rule_10": "no data"}
    assert found["rule_0"].detail == f"observed {sum(20 + i % 7 for i in range(400)) / 400}"
    assert (found["rule_3"].found, found["rule_4"].found, found["rule_8"].found) == (400, 400, 1)
    assert "delivered" in (found["rule_5"].detail or "")
    assert found["rule_8"].examples == ("(order_id=O1, delivery_days=3)",)


def test_personal_data_is_never_shown(shop: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    table = "silver.customers"
    rows = [
        "select customer_id, email from silver.customers",
        "select customer_id, lower(email) as written from silver.customers",
        "with them as (select full_name as label, customer_id from silver.customers) select label, customer_id from them",
        "select * from silver.customers",
        "select customers from silver.customers as customers",
        "select customer_id, (select max(email) from silver.customers) as greatest_one from silver.customers",
        "select birth_date, count(*) as records from silver.customers group by birth_date",
        "select customer_id || ' ' || full_name as both_of_them from silver.customers",
    ]
    between = {"expect": "expect_column_values_to_be_in_set", "with": {"column": "email", "value_set": ["x"]}}
    distinct = {
        "expect": "expect_column_distinct_values_to_be_in_set",
        "with": {"column": "full_name", "value_set": ["x"]},
    }
    least = {"expect": "expect_column_min_to_be_between", "with": {"column": "birth_date", "min_value": "2020-01-01"}}
    asked = suite(tmp_path / "suites", table, *({"rows": sql} for sql in rows), between, distinct, least)
    ((answers),) = ask(shop, [asked], CATALOG)
    assert [v.outcome for v in answers.verdicts] == ["broken"] * 11
    shown = json.dumps([v.__dict__ for v in answers.verdicts], default=str) + str(answers.result.to_json_dict())
    assert [text for text in ("@shop", "Name ", "1980-", "name 1") if text in shown] == []
    assert answers.verdicts[0].examples[0] == f"(customer_id=C0, email={MASK})"
    assert "records=1" in answers.verdicts[6].examples[0]
    assert f"email={MASK}" in answers.verdicts[8].examples[0]
    assert "customer_id=C" in answers.verdicts[8].examples[0]


def test_what_the_database_says_about_a_value_is_cut_out(shop: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    asked = suite(
        tmp_path / "suites",
        "silver.customers",
        {"rows": "select customer_id from silver.customers where cast(email as integer) = 1"},
        {"rows": "select customer_id from silver.customers where cast(full_name as timestamp) > registered_at"},
    )
    (answers,) = ask(shop, [asked], CATALOG)
    assert [v.outcome for v in answers.verdicts] == ["error", "error"]
    said = "".join(v.detail or "" for v in answers.verdicts) + str(answers.result.to_json_dict()["results"])
    assert [text for text in ("@shop", "Name ", "[SQL") if text in said] == []
    assert "onvert" in said


def test_a_column_is_shown_only_if_it_can_be_followed_to_open_ones() -> None:
    def shown(sql: str) -> tuple[set[str], set[str]]:
        return unmarked_columns(sql, CATALOG)

    assert shown("select order_id, count(*) as n from silver.orders group by order_id") == ({"order_id"}, {"n"})
    assert shown("select raw.mail from bronze.shop__people as raw") == (set(), set())
    assert shown("select email from silver.customers") == (set(), set())
    assert shown("this is no sql") == (set(), set())


def test_rules_see_what_is_committed_through_the_one_connection_and_leave_no_cursor(tmp_path: Path) -> None:
    """The file is open for writing all the while; were another connection opened, or one left, this would fail."""
    path = tmp_path / "warehouse.duckdb"
    asked = suite(
        tmp_path / "suites",
        "gold.kpi_daily",
        {"expect": "expect_column_min_to_be_between", "with": {"column": "orders", "min_value": 1000}},
        {"rows": "select order_date from gold.kpi_daily where orders < 0"},
    )
    with duckdb.connect(str(path)) as con:
        fill(con, CATALOG, ["gold.kpi_daily"])
        assert [v.outcome for v in verdicts(con, asked)] == ["broken", "held"]
        con.execute("insert into gold.kpi_daily by name select date '2025-01-01' as order_date, -1 as orders")
        assert [v.found for v in verdicts(con, asked)] == [None, 1]
    code = (
        f"import duckdb; print(duckdb.connect({str(path)!r}).execute('select count(*) from gold.kpi_daily').fetchall())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert other.stdout.strip() == "[(81,)]", other.stderr


def test_asking_talks_to_nobody_writes_nothing_elsewhere_and_leaves_quietly(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    code = """
import socket, sys, json
def refuse(self, address, *rest):
    print("NETWORK", address)
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *a, **k: refuse(None, a)
import duckdb
from pathlib import Path
from ecommerce_platform.quality.data_docs import build
from ecommerce_platform.quality.gx import ask
from ecommerce_platform_tests.quality.good_shop import fill, read_all_suites
catalog, suites = read_all_suites()
con = duckdb.connect()
fill(con, catalog)
asked = ask(con, list(suites.values()), catalog)
build(asked, Path(sys.argv[1]))
print(sorted({v.outcome for a in asked for v in a.verdicts}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "docs")],
        capture_output=True,
        text=True,
        cwd=work,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), "TMPDIR": str(work)},
    )
    assert done.stdout.splitlines() == ["['held']"], done.stdout + done.stderr
    assert done.stderr == ""
    assert [p for folder in (home, work) for p in folder.rglob("*")] == []
