"""Thresholds that people keep are looked at in the newest complete period of a snapshot."""

from __future__ import annotations

from ecommerce_platform.contracts.metric_sql import Filter
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.orchestration.findings import passed_thresholds
from ecommerce_platform.serving.access import saved
from ecommerce_platform.serving.access.roles import Who
from ecommerce_platform.serving.thresholds import passed
from ecommerce_platform.settings import read_settings
from ecommerce_platform_tests.serving.shop import Served

METRICS, ADA = read_metrics(), Who("user:ada", "viewer")


def test_only_what_is_beyond_a_bound_in_the_newest_complete_month_is_told(served: Served) -> None:
    newest = served.rows("select month, orders from gold.kpi_monthly where is_complete order by month desc limit 1")[0]
    orders = int(newest["orders"])
    accounts = served.accounts
    for name, bounds in (
        ("low", {"below": orders + 1}),
        ("fine", {"below": orders, "above": orders}),
        ("high", {"above": orders - 1}),
    ):
        saved.save_threshold(accounts, ADA, METRICS, name, "orders", "month", **bounds)
    kept = saved.thresholds(accounts, ADA)
    with served.plain() as con:
        found = passed(con, METRICS, kept, None)
    assert [p.threshold.name for p in found] == ["high", "low"]
    assert str(newest["month"]) in found[0].says
    assert f"{orders:,.4g}" in found[0].says
    with served.plain() as con:
        told = passed_thresholds(read_settings(data_dir=served.folder), con, None)
    assert [b.title for b in told] == ["high (ada)", "low (ada)"]
    for one in kept:
        saved.remove_threshold(accounts, ADA, one.id)


def test_a_threshold_that_cannot_be_asked_any_more_says_so(served: Served) -> None:
    gone = saved.Threshold(1, "user:ada", "x", "no_such_metric", "month", (Filter("channel", ("web",)),), 1.0, None)
    with served.plain() as con:
        (found,) = passed(con, METRICS, [gone], None)
    assert "cannot be asked" in found.says
