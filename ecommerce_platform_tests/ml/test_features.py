"""Features as of a day hold nothing that happened or became known later: rows that came later are taken away, values that
were set later are set otherwise, and everything stays as it is, to the last byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import sqlglot
from sqlglot import exp

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.ml import churn
from ecommerce_platform.ml.churn import fit_method
from ecommerce_platform.ml.churn_model import METHODS, Recency
from ecommerce_platform.ml.churn_rows import (
    FEATURES,
    LABELLED,
    READS,
    TO_SCORE,
    described,
    labelled_rows,
    refuse_leaks,
    rows_to_score,
    shop_horizon,
)
from ecommerce_platform.ml.classification import METRICS
from ecommerce_platform.ml.features import TABLE, features_as_of, features_sql
from ecommerce_platform.ml.lifecycle import Place, score, train
from ecommerce_platform.ml.lifetime_value import customers_as_of
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.ml.churn_shop import exactly
from ecommerce_platform_tests.ml.shelf import open_place

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


# -- churn: the same, with what became of the customers -----------------------------------------------------------

#: The shop is 150 days old: a short window, so that there are cut-offs.
WINDOW = 30


def make(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"update silver.shop set churn_window_days = {WINDOW}")
    for table in LABELLED.reads:
        rebuild(con, table)


def test_outcomes_are_what_the_days_after_the_gap_show(con: duckdb.DuckDBPyConnection) -> None:
    make(con)
    found = shop_horizon(con)
    assert found is not None
    assert len(found.cut_offs) == 3
    rows = labelled_rows(con)
    refuse_leaks(rows, FEATURES)
    bought: dict[str, set[date]] = {}
    for person, day in con.execute("select person_id, order_date from gold.fct_customer_days").fetchall():
        bought.setdefault(person, set()).add(day)
    assert 0 < rows["is_lost"].sum() < rows.height
    for cut in found.cut_offs:
        here = rows.filter(pl.col("as_of_date") == cut)
        customers = {p for p, days in bought.items() if any(cut - timedelta(days=2 * WINDOW) < d <= cut for d in days)}
        assert set(here["person_id"]) == customers
        after = cut + timedelta(days=found.gap)
        for person, lost in here.select("person_id", "is_lost").iter_rows():
            assert lost == (not any(after < d <= after + timedelta(days=WINDOW) for d in bought[person]))
        assert here["outcome_to"][0] == cut + timedelta(days=found.gap + WINDOW) <= found.last
    assert rows_to_score(con)["as_of_date"].unique().to_list() == [found.last]
    assert set(TO_SCORE.reads) == set(LABELLED.reads)


def test_of_very_many_customers_the_same_persons_are_learned_from_on_all_days(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(con)
    every = labelled_rows(con)
    last = every.filter(pl.col("as_of_date") == every["as_of_date"].max()).height
    monkeypatch.setattr("ecommerce_platform.ml.churn_rows.MOST_PERSONS", last // 2)
    some = labelled_rows(con)
    drawn = some["person_id"].unique().to_list()
    assert 0.2 * last < some.filter(pl.col("as_of_date") == some["as_of_date"].max()).height < 0.8 * last
    assert some.equals(every.filter(pl.col("person_id").is_in(drawn)))
    monkeypatch.setattr("ecommerce_platform.ml.churn_rows.MOST_PERSONS", last)
    assert labelled_rows(con).equals(every)


def learned(rows: pl.DataFrame) -> list[str]:
    """All that is fitted on the rows, to the last digit."""
    fits = [fit_method(method, [rows], FEATURES, 1, False) for method in METHODS]
    base = Recency.fit(rows["recency_days"].to_numpy(), rows["is_lost"].to_numpy())
    return [exactly([f.encoder.to_state(), f.scorer.to_state()]) for f in fits] + [exactly([base.days, base.share])]


def test_what_came_later_changes_not_a_byte_of_features_and_parameters(con: duckdb.DuckDBPyConnection) -> None:
    make(con)
    found = shop_horizon(con)
    assert found is not None
    *earlier, newest = found.cut_offs
    before = (described(con, found, earlier), described(con, found, [newest]).select("person_id", *FEATURES))

    for (table,) in con.execute(
        "select 'gold.' || table_name from duckdb_tables() where schema_name = 'gold' and database_name = 'memory'"
    ).fetchall():
        con.execute(f"drop table {table}")
    change_what_came_later(con, newest)
    make(con)
    after = (described(con, found, earlier), described(con, found, [newest]).select("person_id", *FEATURES))

    assert [frame.write_csv() for frame in before] == [frame.write_csv() for frame in after]
    assert learned(before[0]) == learned(after[0])
    # Asked on that day, the shop would have chosen the same days by itself.
    assert labelled_rows(con).equals(before[0].select(labelled_rows(con).columns))


@pytest.mark.parametrize("rows", [labelled_rows, rows_to_score])
def test_a_shop_without_orders_has_no_rows(con: duckdb.DuckDBPyConnection, rows: object) -> None:
    make(con)
    con.execute("delete from gold.fct_customer_days")
    frame = rows(con)  # type: ignore[operator]
    assert frame.height == 0
    assert set(FEATURES) <= set(frame.columns)


def test_tables_of_churn_are_filled_as_declared_and_an_unchanged_shop_trains_nothing(
    warehouse: Path, tmp_path: Path
) -> None:
    shutil.copy(warehouse, tmp_path / "warehouse.duckdb")
    there = open_place(tmp_path)
    with there.connect() as con:
        con.execute(f"update silver.shop set churn_window_days = {WINDOW}")
    done = train(churn.MODEL, there)
    assert done.card is not None
    assert done.card.metrics["not_evaluated"] is None
    assert [name for name, _ in asked(there, "select distinct metric, 1 from ml.evaluations order by 1")] == sorted(
        METRICS
    )
    for table in churn.MODEL.scored_on:
        assert score(churn.MODEL, there, table)[0].rows > 0
    assert asked(there, "select count(*), sum(customers) from ml.churn_deciles") == [
        (10, done.card.metrics["cut_offs"][-1]["customers"])
    ]
    ((version, last, low, high, told),) = asked(
        there,
        "select any_value(model_version), min(as_of_date), min(churn_probability), max(churn_probability), count(reasons) "
        "from ml.churn_scores",
    )
    assert (version, last) == (done.card.version, START + timedelta(days=149))
    assert 0 <= low < high <= 1
    assert told > 0
    again = train(churn.MODEL, there)
    assert again.card is None
    assert not again.written.changed


def asked(there: Place, sql: str) -> list[tuple[Any, ...]]:
    with there.connect() as con:
        return con.execute(sql).fetchall()


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


def test_churn_names_all_tables_that_features_and_outcomes_read() -> None:
    outcomes = {"gold.fct_customer_days", "silver.shop", "silver.orders"}
    assert set(READS) == tables_in(features_sql(CUTS)) | outcomes
