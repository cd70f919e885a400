"""The marketplace's export from its files to KPIs: the figures that its owner knows must come out of gold."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.source import builtin_sources, read_source
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.integration.findings import findings

pytestmark = pytest.mark.shops

ROWS = {"customer_detail": 3_998, "order_detail": 5_884, "sku_detail": 3_206, "payment_detail": 16}


@pytest.fixture(scope="module")
def marketplace(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("marketplace"), "marketplace")
    shop.ok("land", str(test_data / "marketplace"), "--source", "marketplace", "--date", "2022-12-31")
    shop.ok("build")
    return shop


def test_every_row_is_used_and_none_is_rejected(marketplace: Shop) -> None:
    found = marketplace.query("select _raw_table, rows_landed, rows_used from silver.row_accounting order by all")
    assert found == [(table, rows, rows) for table, rows in sorted(ROWS.items())]
    assert marketplace.query("select count(*) from silver.rejects") == [(0,)]


def test_the_kpi_summary_is_what_the_owner_knows(marketplace: Shop) -> None:
    assert marketplace.query(
        "select revenue, gross_amount, units, customers, orders, net_profit, cost_known_share from gold.kpi_summary"
    ) == [
        (Decimal("3667575325.72"), Decimal("3683474867.46"), 8_307, 2_864, 3_955, Decimal("820243153.72"), 1.0)
    ]  # fmt: skip


def test_the_best_month_of_2021_is_august(marketplace: Shop) -> None:
    best = "select cast(month as varchar), revenue from gold.kpi_best_months where year = 2021"
    assert marketplace.query(best) == [("2021-08-01", Decimal("282274803.10"))]


def test_the_best_month_of_all_is_june_2022_and_the_best_day_lies_in_it(marketplace: Shop) -> None:
    best = "select cast(month as varchar), revenue from gold.kpi_monthly order by revenue desc limit 1"
    assert marketplace.query(best) == [("2022-06-01", Decimal("672554895.48"))]
    ((day, revenue),) = marketplace.query(
        "select cast(order_date as varchar), revenue from gold.kpi_daily order by revenue desc limit 1"
    )
    assert day.startswith("2022-06")
    assert round(revenue / 1_000_000, 1) == Decimal("525.9")
    # As delivered, it stood alone among months of eight days: nothing could be expected of it.
    found = "select cast(window_start as varchar), direction from gold.anomalies where series = 'revenue' and peak_date = date '2022-06-09'"
    assert marketplace.query(found) == [("2022-06-09", "up")]


def test_orders_cover_every_day_from_july_2021_to_august_2022(marketplace: Shop) -> None:
    """Day and month have changed places in the file wherever the day is at most 12."""
    covered = "select cast(min(d) as varchar), cast(max(d) as varchar), count(*) from (select distinct cast(ordered_at as date) as d from silver.orders)"
    assert marketplace.query(covered) == [("2021-07-01", "2022-08-13", 409)]
    as_delivered = (
        "select sum(cast(after_discount as decimal(18, 4))) from bronze.marketplace__order_detail "
        "where is_valid = '1' and order_date like '2021-08-%'"
    )
    assert marketplace.query(as_delivered) == [(Decimal("227862744.00"),)]


def test_the_best_category_of_2022_is_mobiles_and_tablets(marketplace: Shop) -> None:
    best = "select category, revenue from gold.kpi_categories_yearly where year = 2022 and rank_by_revenue = 1"
    assert marketplace.query(best) == [("Mobiles & Tablets", Decimal("918451576.00"))]
    by_month = (
        "select value, sum(revenue) from gold.kpi_by_dimension where dimension = 'category' "
        "and month between date '2022-01-01' and date '2022-12-01' group by value order by 2 desc limit 1"
    )
    assert marketplace.query(by_month) == [("Mobiles & Tablets", Decimal("918451576.00"))]


def test_brands_are_recognised_in_the_names_and_rank_by_revenue(marketplace: Shop) -> None:
    asked = "('Lenovo', 'Huawei', 'Sony', 'Apple', 'Samsung')"
    ranked = marketplace.query(
        f"select brand from gold.kpi_brand_ranking where brand in {asked} order by rank_by_revenue"
    )
    assert [brand for (brand,) in ranked] == ["Samsung", "Apple", "Sony", "Huawei", "Lenovo"]
    names = {
        "cc_Samsung_Galaxy_S8_black": "Samsung",
        "samsungGALAXY S-7 32GB LTE": "Samsung",
        "iPhone7Plus-Red-256GB": "Apple",
        "Logitech_Logitech Ipad Air Keyboard Cover Connector-white": "Logitech",
        "Dawlance_DW-131 HP": "Dawlance",
        "dawlance_DW396HP": "Dawlance",
        "Phillips_HP8201": "Philips",
        "SCIFI_SC6803HP-Hannah Montana": None,
        "Aladdin_068-BO_MOTOR-2019": None,
    }
    found = marketplace.query("select name, brand from gold.dim_product")
    assert {name: brand for name, brand in found if name in names} == names
    missed = [name for name, brand in found if "samsung" in name.lower() and brand != "Samsung"]
    assert missed == []


def test_each_brand_of_the_rules_is_in_the_catalogue(marketplace: Shop) -> None:
    rules = read_source(builtin_sources()["marketplace"], read_catalog().entities).file.brand_rules
    known = sorted({rule.brand for rule in rules})
    assert "Samsung" in known
    assert marketplace.query("select distinct brand from silver.brand_rules order by brand") == [(b,) for b in known]
    unused = "select brand from silver.brand_rules except select brand from gold.dim_product"
    assert marketplace.query(unused) == []


@pytest.mark.parametrize(
    ("rank", "methods"),
    [
        ("rank_by_orders", ["cod", "Payaxis", "customercredit", "Easypay", "jazzwallet"]),
        ("rank_by_revenue", ["cod", "jazzvoucher", "Payaxis", "Easypay", "cashatdoorstep"]),
    ],
)
def test_the_five_most_used_methods_of_payment_of_2022(marketplace: Shop, rank: str, methods: list[str]) -> None:
    best = (
        f"select payment_method from gold.kpi_payment_methods_yearly where year = 2022 and {rank} <= 5 order by {rank}"
    )
    assert [method for (method,) in marketplace.query(best)] == methods


def test_the_lines_of_one_id_are_one_order(marketplace: Shop) -> None:
    assert marketplace.query("select count(*) from silver.orders") == [(5_764,)]
    assert marketplace.query("select count(*), max(line_number) from silver.order_items") == [(5_884, 3)]
    assert marketplace.query("select count(*) from silver.payments") == [(5_764,)]


def test_a_line_comes_to_exactly_what_the_source_says(marketplace: Shop) -> None:
    """Also where the rounded list price times the quantity is something else."""
    differing = (
        "select count(*) from silver.order_items as items inner join bronze.marketplace__order_detail as raw "
        "on items.order_id = raw.id and items.product_id = raw.sku_id "
        "where items.quantity * items.unit_price {0} cast(raw.{1} as decimal(18, 4))"
    )
    assert marketplace.query(differing.format("=", "before_discount")) == [(5_884,)]
    listed = "select count(*) from bronze.marketplace__order_detail where cast(price as decimal(18, 4)) * cast(qty_ordered as integer) <> cast(before_discount as decimal(18, 4))"
    assert marketplace.query(listed) == [(23,)]


def test_a_surcharge_is_kept_and_warned_of(marketplace: Shop) -> None:
    below = "select gross_amount, discount_amount, is_valid from gold.fct_order_items where discount_amount < 0"
    assert marketplace.query(below) == [(Decimal("347710.0000"), Decimal("-34771.0000"), False)]


def test_customers_registered_after_their_first_order_are_kept_and_marked(marketplace: Shop) -> None:
    assert marketplace.query(
        "select count(*), count(*) filter (where is_registered_after_first_order) from gold.dim_customer"
    ) == [(3_998, 1_276)]


def test_the_exports_known_quirks_are_findings_with_the_right_counts(marketplace: Shop, test_data: Path) -> None:
    """Everything that is found, held against counts from the files themselves."""
    import duckdb

    def rows(relation: str) -> int:
        for table in ROWS:
            path = test_data / "marketplace" / f"{table}.csv"
            relation = relation.replace(f"<{table}>", f"read_csv('{path}', all_varchar = true)")
        ((found,),) = duckdb.sql(f"select count(*) from {relation}").fetchall()
        return int(found)

    found = findings(marketplace)
    assert found.pop("gold.dim_product names_are_readable") == rows("<sku_detail> where sku_name like '%Ã‚%'")
    assert found.pop("gold.fct_order_items discounts_reduce") == rows(
        "<order_detail> where cast(discount_amount as double) < 0"
    )
    assert found.pop("silver.customers registered_by_the_first_order") == rows(
        "<customer_detail> as c inner join (select customer_id, min(cast(regexp_replace(order_date, '^(....)-(..)-(0.|1[012])', '\\1-\\3-\\2') as date)) as first_date "
        "from <order_detail> group by 1) as o on c.id = o.customer_id where cast(c.registered_date as date) > first_date"
    )
    assert found.pop("gold.fct_payments something_is_paid") == rows(
        "(select id from <order_detail> group by id, payment_id having sum(cast(after_discount as decimal(18, 4))) <= 0)"
    )
    # Most orders are marked as not valid; a few are worth a fortune.
    assert found.keys() == {
        "gold.fct_order_items price_fits_the_product",
        "gold.fct_orders most_orders_count",
        "gold.fct_orders worth_is_plausible",
        "gold.kpi_daily revenue_is_plausible",
    }


def test_a_changed_rule_reaches_the_ranking(marketplace: Shop, tmp_path: Path) -> None:
    """Rules are data: with one more in a copy of the source, the next build ranks one brand more."""
    folder = tmp_path / "marketplace"
    shutil.copytree(builtin_sources()["marketplace"], folder)
    driver = Driver.of(str(folder), tmp_path / "data")
    shutil.copytree(marketplace.data / "raw", tmp_path / "data" / "raw")
    driver.build(of=["gold.kpi_brand_ranking"])
    with driver.connect() as con:
        before = con.execute("select brand from gold.kpi_brand_ranking").fetchall()
    text = (folder / "source.yml").read_text(encoding="utf-8")
    (folder / "source.yml").write_text(text.rstrip() + "\n  - {brand: Omron}\n", encoding="utf-8")
    driver = Driver.of(str(folder), tmp_path / "data")
    driver.build(of=["gold.kpi_brand_ranking"])
    with driver.connect() as con:
        after = con.execute("select brand from gold.kpi_brand_ranking").fetchall()
    assert set(after) - set(before) == {("Omron",)}
