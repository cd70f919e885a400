"""What dagster.yaml means to this release of Dagster: a key it does not know, or knows otherwise, shows here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from ecommerce_platform.automation.instance import TEMPLATE
from ecommerce_platform_tests.automation.harness import open_home
from ecommerce_platform_tests.conftest import ROOT


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_home(tmp_path / "home") as instance:
        yield instance


def test_the_template_and_the_checkouts_own_are_the_same():
    assert (ROOT / "dagster_home/dagster.yaml").read_text() == TEMPLATE.read_text()


def test_runs_queue_and_four_run_at_a_time(instance: dg.DagsterInstance):
    assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_concurrent_runs == 4
    assert not queue.tag_concurrency_limits


def test_hanging_starts_are_ended_and_killed_runs_launched_once_more(instance: dg.DagsterInstance):
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_start_timeout_seconds == 180
    assert not instance.run_launcher.supports_check_run_worker_health, "else the reaper has nothing to do"
    assert instance.run_retries_enabled
    assert instance.run_retries_max_retries == 1
    assert not instance.run_retries_retry_on_asset_or_op_failure


def test_freshness_policies_are_evaluated(instance: dg.DagsterInstance):
    assert "FRESHNESS_DAEMON" in instance.get_required_daemon_types()


def test_ticks_are_purged(instance: dg.DagsterInstance):
    from dagster._core.definitions.run_request import InstigatorType

    schedule = instance.get_tick_retention_settings(InstigatorType.SCHEDULE)
    assert set(schedule.values()) == {90}
    for kind in (InstigatorType.SENSOR, InstigatorType.AUTO_MATERIALIZE):
        kept = instance.get_tick_retention_settings(kind)
        assert kept[TickStatus.SKIPPED] == 7
        assert kept[TickStatus.FAILURE] == 30
        assert kept[TickStatus.SUCCESS] == 90
