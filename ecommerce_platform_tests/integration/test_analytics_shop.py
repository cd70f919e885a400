"""A small analytics shop, from its SQLite file to KPIs: held against what SQLite itself says about the two tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.analytics_shop import export_shop, write_shop
from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.shops


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("sqlite") / "shop.sqlite")


@pytest.fixture(scope="module")
def analytics(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("analytics_shop"), "analytics_shop")
    export = export_shop(database, shop.folder / "export")
    shop.ok("land", str(export), "--source", "analytics_shop", "--date", "2024-06-01")
    shop.ok("build")
    return shop


def ask(database: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as con:
        return con.execute(sql).fetchall()


def money(cents: int) -> Decimal:
    return Decimal(cents) / 100


def test_the_file_is_the_same_every_time(database: Path, tmp_path: Path) -> None:
    again = write_shop(tmp_path / "again.sqlite")
    every = "select * from transactions order by 1"
    assert ask(again, every) == ask(database, every)


def test_what_payments_and_returns_leave_out_is_counted_and_has_a_reason(analytics: Shop, database: Path) -> None:
    ((kept, unpaid),) = ask(
        database,
        "select count(*) filter (where revenue >= 0 or revenue is null), "
        "count(*) filter (where payment_method is null or trim(payment_method) = '' or revenue is null) from transactions",
    )
    assert analytics.query(
        "select entity, rows_left_out from silver.entity_accounting where rows_left_out > 0 order by 1"
    ) == [("payments", unpaid), ("returns", kept)]


def test_the_kpi_summary_is_what_sqlite_says(analytics: Shop, database: Path) -> None:
    ((orders, customers, cents),) = ask(
        database,
        "select count(*), count(distinct customer_id), sum(cast(round(revenue * 100) as integer)) "
        "from transactions where revenue >= 0",
    )
    ((refunds,),) = ask(
        database, "select -sum(cast(round(revenue * 100) as integer)) from transactions where revenue < 0"
    )
    assert analytics.query("select orders, customers, units, revenue, refund_amount from gold.kpi_summary") == [
        (orders, customers, orders, money(cents), money(refunds))
    ]
    assert analytics.query("select net_profit, cost_known_share from gold.kpi_summary") == [(None, 0.0)]


@pytest.mark.parametrize("dimension", ["category", "channel", "payment_method", "region"])
def test_each_dimension_is_what_sqlite_says(analytics: Shop, database: Path, dimension: str) -> None:
    found = ask(
        database,
        f"select coalesce({dimension}, 'unknown'), count(*), sum(cast(round(revenue * 100) as integer)) "
        "from transactions where revenue >= 0 group by 1 order by 1",
    )
    assert analytics.query(
        "select value, cast(sum(orders) as bigint), sum(revenue) from gold.kpi_by_dimension "
        f"where dimension = '{dimension}' group by value order by value"
    ) == [(value, orders, money(cents)) for value, orders, cents in found]


def test_satisfaction_and_delivery_are_what_sqlite_says(analytics: Shop, database: Path) -> None:
    ((satisfaction, days),) = ask(database, "select avg(satisfaction_score), avg(delivery_days) from transactions")
    ((found, found_days),) = analytics.query("select avg_satisfaction_score, avg_delivery_days from gold.kpi_summary")
    assert (found, found_days) == (pytest.approx(satisfaction), pytest.approx(days))


def test_every_row_is_used_and_the_one_without_revenue_has_no_line(analytics: Shop, database: Path) -> None:
    assert analytics.query("select rows_landed, rows_used from silver.row_accounting order by _raw_table") == [
        (rows, rows)
        for table in ("customers", "transactions")
        for (rows,) in ask(database, f"select count(*) from {table}")
    ]
    rejected = "select entity, reason_code, raw_row->>'transaction_id' from silver.rejects"
    assert analytics.query(rejected) == [("order_items", "missing_required", "T00100")]
    assert analytics.query("select valid_lines, is_counted from gold.fct_orders where order_id = 'T00100'") == [
        (0, False)
    ]


def test_a_category_is_a_product(analytics: Shop) -> None:
    assert analytics.query("select product_id, name, category from gold.dim_product order by product_id") == [
        *[(c, c, c) for c in ("Büro", "Electronics", "Home & Garden", "Sports", "Toys")],
        ("unknown", None, None),
    ]


def test_a_last_purchase_that_the_transactions_contradict_is_told_and_not_believed(
    analytics: Shop, database: Path
) -> None:
    contradicted = ask(
        database,
        "select count(*) from customers inner join "
        "(select customer_id, max(date) as newest from transactions group by customer_id) as bought "
        "using (customer_id) where last_purchase_date <> newest",
    )
    assert contradicted[0][0] > 0
    differing = (
        "select count(*) from gold.dim_customer where records = 1 and stated_last_purchase_date <> last_order_date"
    )
    assert analytics.query(differing) == contradicted
    told = analytics.ok("build", "--full-checks", "--select", "gold/dim_customer")
    assert "stated_last_purchases_are_those_of_the_orders" in told


def test_customers_that_the_table_lacks_are_persons_all_the_same(analytics: Shop, database: Path) -> None:
    missing = ask(
        database,
        "select count(distinct customer_id) from transactions "
        "where customer_id not in (select customer_id from customers)",
    )
    assert missing[0][0] > 0
    assert analytics.query("select count(*) from gold.dim_customer where records = 0") == missing


def test_customers_acquired_after_their_first_purchase_are_marked(analytics: Shop, database: Path) -> None:
    late = ask(
        database,
        "select count(*) from customers inner join "
        "(select customer_id, min(date) as oldest from transactions group by customer_id) as bought "
        "using (customer_id) where acquisition_date > oldest",
    )
    assert late[0][0] > 0
    assert analytics.query("select count(*) from gold.dim_customer where is_registered_after_first_order") == late
