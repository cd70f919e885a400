"""Extraction as a user runs it: on the command line, in Dagster, and the tables that come of it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.extraction.conftest import Place

MAPPING = """select
    as_text(id) as order_id,
    as_text(customer) as customer_id,
    as_timestamp(placed) as ordered_at,
    as_text(state) as status,
    as_text(state) <> 'canceled' as is_valid
from bronze.shop__orders
"""


@pytest.fixture
def filled(lite: Place) -> Place:
    lite.run(
        "create table orders (id integer primary key, customer text, placed text, state text, updated_at text)",
        "insert into orders values (1, 'a', '2024-04-01 10:00:00', 'created', '2024-04-01 10:00:00'), "
        "(2, 'b', '2024-04-01 11:00:00', 'created', '2024-04-01 11:00:00')",
        "create table products (sku text, name text)",
        "insert into products values ('x', 'X')",
    )
    lite.declare("orders", watermark="updated_at")
    lite.declare("products")
    _ = lite.source
    (lite.folder / "shop" / "orders.orders.sql").write_text(MAPPING)
    return lite


def test_extract_and_build_without_the_database(filled: Place):
    shop = Shop(filled.folder, source=str(filled.folder / "shop"))
    said = shop.ok("extract")
    assert "extracted 3 rows into the drop of" in said
    assert "nothing has changed since the last extract: no drop" in shop.ok("extract")
    filled.run("update orders set state = 'canceled', updated_at = '2024-04-02 09:00:00' where id = 2")
    said = shop.ok("extract", "--table", "orders")
    assert "extracted 1 rows" in said
    assert "2024-03-31" in said or "2024-04-01" in said  # since when it looked
    (filled.folder / "shop.db").unlink()
    shop.ok("build", "--select", 'key:"silver/orders" or key:"bronze/shop__orders" or key:"bronze/shop__products"')
    assert shop.query("select order_id, status from silver.orders order by 1") == [("1", "created"), ("2", "canceled")]
    assert shop.query("select count(*) from bronze.shop__orders") == [(3,)]
    done = shop.run("extract")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_a_source_without_database_has_no_such_job_and_says_so(tmp_path: Path):
    done = Shop(tmp_path).run("extract")
    assert done.returncode == 2
    assert "has no database" in done.stderr
    repository = build_definitions(read_settings(source="olist", data_dir=tmp_path)).get_repository_def()
    assert "extract" not in {job.name for job in repository.get_all_jobs()}
    assert "extract_schedule" not in {s.name for s in repository.schedule_defs}


def test_the_job_extracts_and_a_nightly_schedule_runs_it_when_switched_on(filled: Place):
    settings = read_settings(source=str(filled.folder / "shop"), data_dir=filled.folder / "data")
    definitions = build_definitions(settings)
    (schedule,) = [s for s in definitions.get_repository_def().schedule_defs if s.name == "extract_schedule"]
    assert (schedule.job_name, schedule.cron_schedule, schedule.execution_timezone, schedule.default_status.value) == (
        "extract", "30 1 * * *", "Europe/Berlin", "STOPPED",
    )  # fmt: skip
    job = definitions.resolve_job_def("extract")
    with dg.DagsterInstance.ephemeral() as instance:
        only = {"ops": {"extract_tables": {"config": {"tables": ["products"]}}}}
        assert job.execute_in_process(instance=instance, run_config=only).success
        assert [len(filled.files(t)) for t in ("orders", "products")] == [0, 1]
        assert job.execute_in_process(instance=instance).success
        assert [len(filled.files(t)) for t in ("orders", "products")] == [1, 1]
        (filled.folder / "shop.db").unlink()
        failed = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not failed.success
        (event,) = [e for e in failed.all_events if e.event_type == dg.DagsterEventType.STEP_FAILURE]
        assert "there is no such file" in str(event.step_failure_data.user_failure_data.description)
