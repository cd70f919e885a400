"""What the manifest tells of tables beyond their rows, and how a reader of the snapshot asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.orchestration.about import about_tables
from ecommerce_platform.orchestration.assembly import build_definitions, watched_tables
from ecommerce_platform.orchestration.findings import Watched
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.reading.snapshots import open_snapshot
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.warehouse.published import SUMMARY, PublishingShop

REVENUE = dg.AssetKey(["gold", "kpi_daily"])
CUSTOMERS = dg.AssetKey(["silver", "customers"])


@pytest.fixture(scope="module")
def olist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Watched]:
    settings = read_settings(source="olist", data_dir=tmp_path_factory.mktemp("about-"))
    definitions, project = build_definitions(settings), read_project(settings)
    given = [*(definitions.assets or ()), *(definitions.asset_checks or ())]
    return project, watched_tables(project, [asset for asset in given if isinstance(asset, dg.AssetsDefinition)])


def told(olist: tuple[Any, Watched], *events: Any) -> dict[str, dict[str, Any]]:
    with dg.DagsterInstance.ephemeral() as instance:
        for event in events:
            instance.report_runless_asset_event(event)
        return about_tables(instance, *olist)


def check(key: dg.AssetKey, name: str, description: str) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        key, name, passed=False, severity=dg.AssetCheckSeverity.WARN, description=description, metadata={}
    )


def test_values_are_followed_back_to_the_raw_columns(olist: tuple[Any, Watched]) -> None:
    about = told(olist)
    assert about["gold.kpi_categories_yearly"]["reads"] == ["gold.kpi_by_dimension"]
    assert about["gold.kpi_daily"]["columns"]["revenue"]["reads"] == ["gold.fct_days.revenue"]
    price = about["silver.order_items"]["columns"]["unit_price"]
    assert price["reads"] == ["bronze.olist__order_items.price"]
    assert (price["type"], price["unit"], price["personal"]) == ("DECIMAL(18,4)", "currency", False)
    assert about["silver.customers_history"]["columns"]["city"]["reads"] == ["bronze.olist__customers.customer_city"]
    # Nothing is pointed at that is not told of itself.
    assert {above for entry in about.values() for above in entry["reads"]} <= about.keys() | {"bronze.files"}
    assert about["bronze.olist__orders"]["reads"] == []


def test_what_was_never_built_or_checked_says_so(olist: tuple[Any, Watched]) -> None:
    entry = told(olist)["gold.kpi_daily"]
    assert (entry["built_at"], entry["checks"]) == (None, {})
    assert entry["owners"] == ["team:data"]
    assert entry["fresh_within_hours"] == 30


def test_checks_and_builds_are_those_of_the_instance_without_values_of_rows(olist: tuple[Any, Watched]) -> None:
    about = told(
        olist,
        dg.AssetMaterialization(REVENUE),
        check(REVENUE, "expectations", "Revenue is never negative. Not so: 2 rows, e.g. (order_date=2024-01-01)"),
        check(CUSTOMERS, "contract", "email '_ann@example.org' is not unique: 3 rows, e.g. ann@example.org"),
    )
    built = datetime.fromisoformat(about["gold.kpi_daily"]["built_at"])
    assert abs(built - datetime.now(UTC)) < timedelta(minutes=1)
    failing = about["gold.kpi_daily"]["checks"]["expectations"]
    assert (failing["passed"], failing["severity"]) == (False, "warn")
    assert failing["says"] == "Revenue is never negative. Not so: 2 rows"
    assert "ann@" not in str(about["silver.customers"]["checks"])


def test_a_reader_asks_for_it_with_sql(tmp_path: Path) -> None:
    shop = PublishingShop(tmp_path)
    column = {"type": "BIGINT", "unit": None, "description": "Persons.", "personal": False}
    verdict = {
        "passed": False,
        "severity": "warn",
        "at": "2024-02-01T12:00:00+00:00",
        "says": "2 rows",
        "meaning": "It's so.",
    }
    about: dict[str, Any] = {
        SUMMARY: {
            "layer": "gold", "subject": "kpi", "description": "All.", "grain": "one row", "owners": ["team:data"],
            "fresh_within_hours": 30, "built_at": "2024-02-01T11:00:00+00:00", "reads": ["silver.customers"],
            "columns": {"customers": {**column, "reads": ["silver.customers.customer_id"]}}, "checks": {"contract": verdict},
        }
    }  # fmt: skip
    first = shop.publish(about=about)
    with open_snapshot(first.folder) as con:
        ask = lambda sql: con.execute(sql).fetchall()  # noqa: E731
        assert ask("select table_name, rows, owners, fresh_until, failed_checks from about.tables") == [
            (SUMMARY, 1, "team:data", datetime(2024, 2, 2, 17), 1)
        ]
        assert ask("select * from about.lineage") == [(SUMMARY, "silver.customers")]
        assert ask("select * from about.column_lineage") == [(SUMMARY, "customers", "silver.customers", "customer_id")]
        assert ask("select position, column_name, type, personal from about.columns") == [
            (1, "customers", "BIGINT", False)
        ]
        assert ask("select check_name, passed, checked_at, says from about.checks") == [
            ("contract", False, datetime(2024, 2, 1, 12), "2 rows")
        ]
    # Built and checked again with the same answers: nothing new for readers.
    about[SUMMARY]["built_at"] = verdict["at"] = "2024-02-02T11:00:00+00:00"
    assert shop.publish(about=about).unchanged
    verdict["passed"] = True
    assert not shop.publish(about=about).unchanged


def test_snapshots_from_before_it_was_told_can_still_be_asked(tmp_path: Path) -> None:
    with open_snapshot(PublishingShop(tmp_path).publish().folder) as con:
        assert con.execute("select count(*) from about.tables").fetchall() == [(0,)]
