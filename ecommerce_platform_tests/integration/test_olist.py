"""The Olist export from its files to KPIs, as the README says it: land, build, look."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop

FILES = {
    "orders": "olist_orders_dataset.csv",
    "order_items": "olist_order_items_dataset.csv",
    "order_payments": "olist_order_payments_dataset.csv",
    "order_reviews": "olist_order_reviews_dataset.csv",
    "customers": "olist_customers_dataset.csv",
    "products": "olist_products_dataset.csv",
    "sellers": "olist_sellers_dataset.csv",
    "geolocation": "olist_geolocation_dataset.csv",
    "category_translation": "product_category_name_translation.csv",
}


@pytest.fixture(scope="module")
def olist(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("olist"), "olist")
    landed = shop.ok("land", str(test_data / "olist"), "--source", "olist", "--date", "2018-10-17")
    assert "left: MANIFEST.csv" in landed
    built = shop.ok("build")
    assert "gold.kpi_summary" in built
    return shop


def test_every_row_of_every_file_is_in_bronze(olist: Shop, test_data: Path) -> None:
    with (test_data / "olist" / "MANIFEST.csv").open() as file:
        expected = {row["file"]: int(row["rows"]) for row in csv.DictReader(file) if row["rows"]}
    for table, file in FILES.items():
        assert olist.query(f"select count(*) from bronze.olist__{table}") == [(expected[file],)], table
    assert olist.query("select count(*) from bronze.rejects") == [(0,)]


@pytest.mark.parametrize(
    ("table", "rows"),
    [("orders", 99_441), ("order_items", 112_650), ("payments", 103_886), ("customers", 99_441), ("reviews", 99_224)],
)
def test_silver_has_every_record(olist: Shop, table: str, rows: int) -> None:
    assert olist.query(f"select count(*) from silver.{table}") == [(rows,)]


def test_control_totals_are_exact(olist: Shop) -> None:
    assert olist.query("select sum(unit_price), sum(shipping_amount) from silver.order_items") == [
        (Decimal("13591643.7000"), Decimal("2251909.5400"))
    ]
    assert olist.query("select sum(amount) from silver.payments") == [(Decimal("16008872.1200"),)]


def test_every_landed_row_is_accounted_for(olist: Shop) -> None:
    rows = olist.query(
        "select _raw_table, rows_landed, rows_used + rows_superseded + rows_rejected from silver.row_accounting"
    )
    assert {row[0] for row in rows} == set(FILES)
    assert all(landed == found for _, landed, found in rows)


def test_persons_stand_behind_customer_records(olist: Shop) -> None:
    assert olist.query("select count(*) from gold.dim_customer") == [(96_096,)]


def test_the_kpi_summary_is_right(olist: Shop) -> None:
    ((orders, customers, revenue, units, aov, repeat, nps),) = olist.query(
        "select orders, customers, revenue, units, aov, repeat_purchase_rate, nps_proxy from gold.kpi_summary"
    )
    assert (orders, customers, units) == (98_199, 94_983, 112_101)
    assert revenue == Decimal("13494400.7400")
    assert round(float(aov), 2) == 137.42
    assert round(repeat, 6) == 0.030395
    assert round(nps, 2) == 34.84


def test_categories_are_translated_and_the_untranslated_keep_their_code(olist: Shop) -> None:
    assert olist.query("select count(*) from gold.dim_product where category = 'health_beauty'")[0][0] > 0
    assert olist.query(
        "select count(*) from gold.dim_product where category in ('pc_gamer', 'portateis_cozinha_e_preparadores_de_alimentos')"
    ) == [(13,)]


def test_predict_gives_exactly_the_labels_of_training(olist: Shop, tmp_path: Path) -> None:
    import duckdb

    file, out = tmp_path / "persons.csv", tmp_path / "labels.csv"
    with duckdb.connect(str(olist.data / "warehouse.duckdb"), read_only=True) as con:
        con.execute(
            f"copy (select person_id, recency_days, frequency, monetary from gold.rfm order by random()) to '{file}' (header)"
        )
    olist.ok("predict", "segments", "--input", str(file), "--output", str(out))
    with duckdb.connect(str(olist.data / "warehouse.duckdb"), read_only=True) as con:
        differing = con.execute(
            f"select count(*) from ml.segments as s full join read_csv('{out}') as p using (person_id) "
            "where s.segment is distinct from p.segment or s.segment_name is distinct from p.segment_name"
        ).fetchone()
        registered = con.execute(
            "select model, version, seed, code_version, metrics, baseline, promoted, artifact_path, sha256 from ml.models"
        ).fetchall()
    assert differing == (0,)
    ((model, version, seed, code, metrics, baseline, _, artifact, digest),) = registered
    assert (model, seed, baseline) == ("segments", 1, "rfm_score_terciles")
    assert code
    assert json.loads(metrics)
    assert (olist.data / "models" / artifact).exists()
    assert len(digest) == 64
    assert olist.query("select distinct model_version from ml.segments") == [(version,)]


def test_building_again_changes_nothing(olist: Shop) -> None:
    before = olist.query("select * from gold.kpi_monthly order by month")
    olist.ok("build", "--select", "group:bronze or group:silver or group:gold")
    assert olist.query("select * from gold.kpi_monthly order by month") == before


def test_publish_and_sql_read_the_published_files(olist: Shop) -> None:
    olist.ok("publish")
    (olist.data / "warehouse.duckdb").rename(olist.data / "hidden")
    try:
        answer = olist.ok("sql", "select orders, revenue from gold.kpi_summary", "--csv")
    finally:
        (olist.data / "hidden").rename(olist.data / "warehouse.duckdb")
    assert answer.split() == ["orders,revenue", "98199,13494400.7400"]


def test_another_source_is_refused_with_the_variables_to_set(olist: Shop) -> None:
    refused = olist.run("build", ECOMMERCE_SOURCE="synthetic")
    assert refused.returncode == 2
    assert "DAGSTER_HOME" in refused.stderr or "ECOMMERCE_DATA_DIR" in refused.stderr
    assert "ECOMMERCE_SOURCE=olist" in refused.stderr.replace("\n", "")
