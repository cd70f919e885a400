"""Features as of a day hold nothing that happened or became known later: rows that came later are taken away, values that
were set later are set otherwise, and everything stays as it is, to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.ml.features import TABLE, features_as_of, features_sql
from ecommerce_platform.ml.lifetime_value import customers_as_of
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Driver

CATALOG = read_catalog()
START = date(2024, 1, 1)
#: The middle of the shop's time, and a day on which a catalogue comes.
CUTS = (date(2024, 3, 10), date(2024, 4, 1))


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features-")
    generate_shop(folder, orders=1500, days=150, seed=8, dirty_share=0, start=START)
    driver = Driver.of("synthetic", folder)
    driver.build()
    return folder / "warehouse.duckdb"


def tables_in(sql: str) -> set[str]:
    return {f"{t.db}.{t.name}" for t in sqlglot.parse_one(sql, dialect="duckdb").find_all(exp.Table) if t.db}


def rebuild(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Makes what lies between silver and a table anew, from silver as it now is."""
    sql = CATALOG.tables[table].sql
    if con.execute(
        f"from duckdb_tables() where database_name = 'memory' and schema_name || '.' || table_name = '{table}'"
    ).fetchall():
        return
    if sql is None or table.startswith("silver."):
        con.execute(f"create table {table} as select * from built.{table}")
        return
    for parent in sorted(tables_in(sql)):
        rebuild(con, parent)
    con.execute(f"create table {table} as {sql}")


@pytest.fixture
def con(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The silver tables that features are made of, to be changed, and nothing of gold."""
    with duckdb.connect() as con:
        con.execute(f"attach '{warehouse}' as built (read_only)")
        con.execute("create schema silver; create schema gold")
        for table in sorted(silver_behind(TABLE)):
            con.execute(f"create table {table} as select * from built.{table}")
        yield con


def silver_behind(table: str) -> set[str]:
    sql = CATALOG.tables[table].sql
    if table.startswith("silver."):
        return {table}
    return set().union(*(silver_behind(parent) for parent in tables_in(sql or "select 1")))


def bytes_of(con: duckdb.DuckDBPyConnection, days: tuple[date, ...]) -> str:
    for parent in sorted(tables_in(features_sql(days))):
        rebuild(con, parent)
    return str(features_as_of(con, days).write_csv())


def change_what_came_later(con: duckdb.DuckDBPyConnection, day: date) -> None:
    """Rows of later are gone or others; earlier rows have other values in all that was set later."""
    later = f"> date '{day}'"
    con.execute(
        f"delete from silver.order_items where order_id in (select order_id from silver.orders where cast(ordered_at as date) {later})"
    )
    con.execute(f"delete from silver.orders where cast(ordered_at as date) {later}")
    con.execute(
        f"update silver.orders set delivered_at = delivered_at + interval 40 day where cast(delivered_at as date) {later}"
    )
    con.execute(f"update silver.shipments set delivered_at = null where cast(delivered_at as date) {later}")
    con.execute(f"update silver.reviews set score = 6 - score where cast(created_at as date) {later}")
    con.execute(f"delete from silver.returns where cast(returned_at as date) {later} and hash(return_id) % 2 = 0")
    con.execute(f"update silver.returns set refund_amount = refund_amount + 5 where cast(returned_at as date) {later}")
    con.execute(f"delete from silver.web_events where cast(occurred_at as date) {later}")
    # Today's records and catalogue are the newest versions; of later versions there may be others.
    con.execute(
        "update silver.customers set postal_code = '99999', region = 'Moon', customer_segment = 'Alien', age_group = '?'"
    )
    con.execute("update silver.products set category = 'other', list_price = 1, unit_cost = 1")
    for history, key in (("customers_history", "customer_id"), ("products_history", "product_id")):
        # A history that begins later is the one thing that stands in for what was not known: it is marked, and stays.
        con.execute(
            f"delete from silver.{history} where valid_from {later} and {key} in "
            f"(select {key} from silver.{history} where valid_from <= date '{day}')"
        )
        con.execute(f"update silver.{history} set valid_to = null, is_current = true where valid_to {later}")


@pytest.mark.parametrize("day", CUTS)
def test_what_came_later_changes_not_a_byte(con: duckdb.DuckDBPyConnection, warehouse: Path, day: date) -> None:
    with duckdb.connect(str(warehouse), read_only=True) as built:
        before = str(features_as_of(built, (day,)).write_csv())
    change_what_came_later(con, day)
    assert con.execute("select count(*) from silver.orders").fetchall()[0][0] > 300
    assert bytes_of(con, (day,)) == before


def test_what_came_before_does_change_them(con: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    """Else the test above would say nothing."""
    change_what_came_later(con, CUTS[0])
    with duckdb.connect(str(warehouse), read_only=True) as built:
        assert bytes_of(con, (CUTS[1],)) != features_as_of(built, (CUTS[1],)).write_csv()


def test_the_table_is_the_function_for_its_days(warehouse: Path) -> None:
    with duckdb.connect(str(warehouse), read_only=True) as con:
        days = tuple(row[0] for row in con.execute(f"select distinct as_of_date from {TABLE} order by 1").fetchall())
        assert days[1] - days[0] == timedelta(days=90)
        table = con.sql(f"select * from {TABLE} order by as_of_date, person_id").pl()
        assert features_as_of(con, days).write_csv() == table.write_csv()
        newest = con.sql("select * from gold.customer_features order by person_id").pl()
        assert features_as_of(con, days[1:]).write_csv() == newest.write_csv()


def test_several_days_at_once_are_those_days_one_by_one(warehouse: Path) -> None:
    with duckdb.connect(str(warehouse), read_only=True) as con:
        both = features_as_of(con, CUTS).write_csv().splitlines()
        each = [features_as_of(con, (day,)).write_csv().splitlines() for day in CUTS]
    assert both == each[0] + each[1][1:]


def test_features_are_of_a_day() -> None:
    with pytest.raises(ValueError, match="at least one day"):
        features_sql(())


def test_the_intervals_of_churn_factors_are_corrected_for_as_many_factors_as_there_are() -> None:
    from scipy.stats import norm

    contract, sql = CATALOG.contract("gold.churn_factors"), CATALOG.tables["gold.churn_factors"].sql
    factors = contract.columns["factor"].accepted
    assert factors
    assert sql
    assert f"{norm.ppf(1 - 0.05 / len(factors) / 2):.3f} as deviations" in sql


def test_lifetime_value_describes_customers_as_the_table_does(con: duckdb.DuckDBPyConnection) -> None:
    for parent in sorted(tables_in(features_sql(CUTS))):
        rebuild(con, parent)
    days = con.sql("select person_id, order_date, revenue_amount as revenue from gold.fct_customer_days").pl()
    features = features_as_of(con, CUTS)
    for day in CUTS:
        found = customers_as_of(days, day)
        of_table = features.filter(features["as_of_date"] == day).select(found.columns)
        assert found.height > 50
        assert found.equals(of_table)
