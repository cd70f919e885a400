"""The Olist export from its files to KPIs, as the README says it: land, build, look."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.integration.findings import findings

pytestmark = pytest.mark.shops

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


def test_an_orders_region_is_the_state_of_its_customer(olist: Shop) -> None:
    """Not the state in which a point of the postal code happens to lie."""
    revenue = "select round(sum(revenue)) from gold.kpi_by_dimension where dimension = '{0}' and value = '{1}'"
    assert olist.query(revenue.format("region", "DF")) == [(300_886,)]
    assert olist.query(revenue.format("customer_region", "DF")) == [(300_086,)]
    assert olist.query(revenue.format("region", "unknown")) == [(None,)]
    assert olist.query("select count(*) from gold.dim_customer where region is distinct from state") == [(0,)]


@pytest.mark.parametrize(("column", "several", "not_last"), [("state", 8, 3), ("city", 8_555, 8_367)])
def test_a_postal_codes_state_and_city_are_those_of_most_of_its_points(
    olist: Shop, test_data: Path, column: str, several: int, not_last: int
) -> None:
    """Counted from the file itself; of equally frequent ones any may stand.

    Args:
        several: postal codes that have more than one.
        not_last: of these, those of which the most frequent is not the last in the alphabet.
    """
    import duckdb

    points: dict[str, dict[str, int]] = {}
    for code, value, count in duckdb.sql(
        f"select geolocation_zip_code_prefix, trim(geolocation_{column}) as value, count(*) "
        f"from read_csv('{test_data / 'olist' / FILES['geolocation']}', all_varchar = true) group by all"
    ).fetchall():
        points.setdefault(code, {})[value] = count
    kept = dict(olist.query(f"select postal_code, {column} from silver.postal_codes"))
    assert kept.keys() == points.keys()
    assert sum(len(counts) > 1 for counts in points.values()) == several
    assert [code for code, value in kept.items() if points[code][value] < max(points[code].values())] == []
    assert sum(value != max(points[code]) for code, value in kept.items()) == not_last


def test_strange_days_have_what_they_came_from_and_black_friday_is_explained(olist: Shop) -> None:
    windows = olist.query(
        "select series, window_start, window_end, direction, drivers, explanation from gold.anomalies"
    )
    assert len(windows) > 15
    assert [window for window in windows if not window[4]] == []
    assert olist.query("select count(*) from gold.anomalies where expected > 0 and expected < 0.5") == [(0,)]
    friday = date(2017, 11, 24)
    found = {series: rest for series, start, end, *rest in windows if start <= friday <= end}
    assert found.keys() == {"orders", "revenue"}
    for direction, drivers, explanation in found.values():
        assert direction == "up"
        assert "number of orders (100% of the change)" in drivers
        assert drivers.split("; ")[-1] in explanation


def test_categories_are_translated_and_the_untranslated_keep_their_code(olist: Shop) -> None:
    assert olist.query("select count(*) from gold.dim_product where category = 'health_beauty'")[0][0] > 0
    assert olist.query(
        "select count(*) from gold.dim_product where category in ('pc_gamer', 'portateis_cozinha_e_preparadores_de_alimentos')"
    ) == [(13,)]


def test_the_exports_known_quirks_are_findings_with_the_right_counts(olist: Shop, test_data: Path) -> None:
    """Counted again from the files themselves, without any table of ours."""
    import duckdb

    def file(table: str) -> str:
        return f"read_csv('{test_data / 'olist' / FILES[table]}', header = true, quote = '\"', all_varchar = true)"

    def time(column: str) -> str:
        return f"try_cast({column} as timestamp)"

    with duckdb.connect() as con:
        for name in FILES:
            con.execute(f"create view {name} as select * from {file(name)}")
        con.execute(
            "create view places as select geolocation_zip_code_prefix as zip, mode(geolocation_state order by geolocation_state) as state, "
            "median(cast(geolocation_lat as double)) as lat, median(cast(geolocation_lng as double)) as lng "
            "from geolocation group by 1"
        )
        bought, sent, got = (
            time(f"order_{c}") for c in ("purchase_timestamp", "delivered_carrier_date", "delivered_customer_date")
        )
        paid = (
            "(select order_id, sum(cast(payment_value as decimal(18, 2))) as paid from order_payments group by 1) "
            "inner join (select order_id, sum(cast(price as decimal(18, 2)) + cast(freight_value as decimal(18, 2))) as due "
            "from order_items group by 1) using (order_id) inner join orders using (order_id)"
        )
        counted = {
            "shipped_after_it_was_placed": f"from orders where {sent} < {bought}",
            "delivered_after_it_was_shipped": f"from orders where {got} < {sent}",
            "delivered_orders_have_a_date": f"from orders where order_status = 'delivered' and {got} is null",
            "called_off_orders_are_not_delivered": f"from orders where order_status = 'canceled' and {got} is not null",
            "paid_is_what_was_ordered": f"from {paid} where order_status = 'delivered' and abs(paid - due) > greatest(0.01 * due, 0.01)",
            "delivered_orders_are_paid": "from orders where order_status = 'delivered' and order_id not in (select order_id from order_payments)",
            "orders_have_lines": "from orders where order_status not in ('canceled', 'unavailable') "
            "and order_id not in (select order_id from order_items)",
            "category_is_listed": "from products where product_category_name not in "
            "(select product_category_name from category_translation)",
            "not_overpaid": f"from {paid} where order_status not in ('delivered', 'canceled', 'unavailable') "
            "and paid - due > greatest(0.01 * due, 0.01)",
            "arrives_after_it_was_sent": f"from orders where {got} < {sent}",
            "sent_after_the_order": f"from orders where cast({sent} as date) < cast({bought} as date)",
            "lies_near_its_state": "from places inner join (select state, median(lat) as mid_lat, median(lng) as mid_lng "
            "from places group by state having count(*) >= 5) using (state) where abs(lat - mid_lat) > 12 or abs(lng - mid_lng) > 12",
            "something_is_paid": "from order_payments where cast(payment_value as double) <= 0",
            "instalments_are_usual": "from order_payments where cast(payment_installments as int) not between 1 and 36",
            "means_of_payment_is_known": "from order_payments where payment_type = 'not_defined'",
            "written_after_the_order": f"from order_reviews inner join orders using (order_id) where "
            f"cast({time('review_creation_date')} as date) < cast({bought} as date)",
        }
        expected = {rule: con.execute(f"select count(*) {rest}").fetchall()[0][0] for rule, rest in counted.items()}
    assert (expected["delivered_after_it_was_shipped"], expected["delivered_orders_have_a_date"]) == (23, 8)
    assert (expected["delivered_orders_are_paid"], expected["category_is_listed"]) == (1, 13)
    # The other 767 of the 775 orders without lines were called off.
    called_off = "select count(*) from gold.fct_orders where not is_valid and order_id not in (select order_id from gold.fct_order_items)"
    assert expected["orders_have_lines"] + olist.query(called_off)[0][0] == 775
    answers = [json.loads(text) for (text,) in olist.query("select verdicts from changes.verdicts")]
    found = {v["rule"]: v["found"] for verdicts in answers for v in verdicts if v["outcome"] == "broken"}
    # The history was cut: its last days, after 28 August 2018, are nearly or wholly empty.
    assert {found.pop("no_day_is_lost"), found.pop("no_day_is_nearly_empty")} == {4, 2}
    assert found == expected
    assert {v["outcome"] for verdicts in answers for v in verdicts} == {"held", "broken"}


def test_doubled_and_orphaned_rows_of_the_export_are_findings(olist: Shop, test_data: Path) -> None:
    import duckdb

    def distinct(table: str, columns: str) -> str:
        return f"(select distinct {columns} from read_csv('{test_data / 'olist' / FILES[table]}', all_varchar = true))"

    known = f"(select geolocation_zip_code_prefix from {distinct('geolocation', 'geolocation_zip_code_prefix')})"
    ((places,),) = duckdb.sql(f"select count(*) from {distinct('geolocation', '*')}").fetchall()
    ((sellers,),) = duckdb.sql(
        f"select count(*) from {distinct('sellers', '*')} where seller_zip_code_prefix not in {known}"
    ).fetchall()
    found = {
        name: rows for name, rows in findings(olist).items() if name.startswith(("bronze", "silver.rej", "gold.dim_"))
    }
    assert found.pop("gold.dim_product category_is_listed") == 13
    assert found.pop("bronze.olist__geolocation delivered_once") == 1_000_163 - places == 261_836
    assert found.pop("gold.dim_seller postal_code → gold.dim_geography.postal_code") == sellers
    # Persons whose newest address is unknown; of their records there are a few more.
    assert found.pop("gold.dim_customer postal_code → gold.dim_geography.postal_code") == 268
    assert found == {}


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
            "select model, version, seed, code_version, metrics, baseline, promoted, artifact_path, sha256 from ml.models "
            "where model = 'segments'"
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
    olist.ok("build", "--select", "group:bronze or group:silver or key:gold/*")
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
