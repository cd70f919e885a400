"""The generated shop through the whole platform: what was made comes out again, faults and all."""

from __future__ import annotations

import stat
from decimal import Decimal

import pytest

from ecommerce_platform.orchestration.instance import open_instance
from ecommerce_platform.orchestration.jobs import BUILD_JOB, EXPECTATIONS_JOB
from ecommerce_platform.settings import read_settings
from ecommerce_platform.simulation.truth import read_persons, read_truth
from ecommerce_platform_tests.conftest import Shop

pytestmark = pytest.mark.shops

#: Orders, days and share of faulty records. The small shop has every kind of fault; the large ones are for `make test-long`.
SHOPS = [
    pytest.param((1500, 60, 0.05), id="dirty"),
    pytest.param((4000, 120, 0.03), id="large and dirty", marks=pytest.mark.long),
    pytest.param((4000, 120, 0.0), id="large and clean", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=SHOPS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    orders, days, dirty = map(str, request.param)
    shop.ok("generate", "--orders", orders, "--days", days, "--dirty", dirty)
    done = shop.run("build")
    assert done.returncode == 0, done.stdout + done.stderr
    return shop


def test_every_delivered_record_is_where_the_truth_says(built: Shop) -> None:
    truth = read_truth(built.data)
    rows = {
        raw: (landed, rejected, superseded)
        for raw, landed, rejected, superseded in built.query(
            "select _raw_table, sum(rows_landed), sum(rows_rejected), sum(rows_superseded) from silver.row_accounting group by 1"
        )
    }
    for raw, table in truth.tables.items():
        assert rows[raw] == (table.delivered, table.rejected, table.superseded), raw
        unparsable = built.query(f"select count(*) from bronze.rejects where raw_table = '{raw}'")
        assert unparsable == [(table.unparsable,)], raw


def test_every_reason_is_counted_right(built: Shop) -> None:
    truth = read_truth(built.data)
    for raw, table in truth.tables.items():
        found = dict(
            built.query(f"select reason_code, count(*) from silver.rejects where _raw_table = '{raw}' group by 1")
        )
        assert found == {reason: n for reason, n in table.rejected_by_reason.items() if n}, raw


def test_silver_has_exactly_the_rows_that_are_current(built: Shop) -> None:
    truth = read_truth(built.data)
    for entity, rows in truth.expected_rows.items():
        assert built.query(f"select count(*) from silver.{entity}") == [(rows,)], entity


def test_the_kpis_are_the_truth(built: Shop) -> None:
    truth = read_truth(built.data)
    ((orders, units, revenue, gross, discount, refunds, profit),) = built.query(
        "select orders, units, revenue, gross_amount, discount_amount, refund_amount, net_profit from gold.kpi_summary"
    )
    totals = truth.totals
    assert (orders, units) == (totals["orders"], totals["units"])
    assert (revenue, gross, discount, refunds) == tuple(
        map(Decimal, (totals["revenue"], totals["gross_amount"], totals["discount_amount"], totals["refund_amount"]))
    )
    assert profit == Decimal(totals["net_profit"])


def test_customers_are_counted_as_persons_as_far_as_records_are_linked(built: Shop) -> None:
    truth = read_truth(built.data)
    who = dict(read_persons(built.data).select("customer_id", "person").iter_rows())
    buyers = built.query(
        "select distinct customer_id from gold.fct_orders where is_counted and customer_id is not null"
    )
    # With the truth about who is who it is their number exactly, …
    assert len({who[customer_id] for (customer_id,) in buyers}) == truth.totals["customers"]
    # … and the platform's number lies between it and that of the accounts.
    ((customers,),) = built.query("select customers from gold.kpi_summary")
    assert truth.totals["customers"] * 0.999 <= customers <= truth.totals["customers_unlinked"]
    assert truth.totals["customers"] < 0.99 * truth.totals["customers_unlinked"]


def test_silver_knows_nothing_that_only_the_truth_knows(built: Shop) -> None:
    for (name,) in built.query(
        "select distinct table_name from information_schema.tables where table_schema = 'bronze'"
    ):
        columns = {c.lower() for (c,) in built.query(f"select column_name from (describe bronze.{name})")}
        assert not columns & {"person", "caused_by", "household"}, name


def test_the_months_are_the_truth(built: Shop) -> None:
    truth = read_truth(built.data)
    found = {
        str(month): (orders, units, revenue)
        for month, orders, units, revenue in built.query("select month, orders, units, revenue from gold.kpi_monthly")
        if orders
    }
    expected = {month: (m["orders"], m["units"], Decimal(m["revenue"])) for month, m in truth.by_month.items()}
    assert found == expected


def test_a_build_by_hand_is_runs_of_the_jobs_that_the_ui_shows(built: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    home = built.folder / "dagster_home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))  # so that it is put back
    with open_instance(read_settings(data_dir=built.data, dagster_home=home)) as instance:
        runs = instance.get_runs()
    assert [(run.job_name, run.is_success) for run in runs] == [(EXPECTATIONS_JOB, True), (BUILD_JOB, True)]
    assert {run.tags[".dagster/repository"] for run in runs} == {"__repository__@ecommerce_platform"}


def test_what_dagster_writes_of_a_build_is_the_owners_alone(built: Shop) -> None:
    home = built.folder / "dagster_home"
    there = [home, *home.rglob("*")]
    assert {"runs.db", "index.db", "schedules.db", "dagster.yaml"} <= {path.name for path in there}
    for path in there:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_status_shows_where_things_stand(built: Shop) -> None:
    shown = built.ok("status")
    assert "gold.kpi_summary" in shown
    assert "no check fails" in shown or "Failed checks" in shown


def test_generating_again_is_refused(built: Shop) -> None:
    refused = built.run("generate")
    assert refused.returncode == 2
    assert "there are drops already" in refused.stderr
