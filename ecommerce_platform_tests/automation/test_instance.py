"""What dagster.yaml means to this release of Dagster: a key it does not know, or knows otherwise, shows here."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import TickStatus

from ecommerce_platform.orchestration.instance import TEMPLATE, initialise, open_instance
from ecommerce_platform.settings import Settings, read_settings
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


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return read_settings(data_dir=tmp_path / "data")


def _open(settings: Settings) -> None:
    with open_instance(settings) as instance:
        instance.get_runs(limit=1)


def test_processes_may_open_a_fresh_home_together(settings: Settings):
    processes = [multiprocessing.get_context("fork").Process(target=_open, args=(settings,)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6


def test_a_home_that_is_ready_is_set_up_again_without_loading_dagster(settings: Settings):
    command = "import sys; from ecommerce_platform.cli import app; app(['setup'], standalone_mode=False)"
    command += "; print('dagster loaded' if 'dagster' in sys.modules else 'dagster not loaded')"

    def said() -> str:
        environment = {"ECOMMERCE_DATA_DIR": str(settings.data), "DAGSTER_HOME": str(settings.home), "COLUMNS": "400"}
        return subprocess.run(
            [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first, second = said(), said()
    assert first.splitlines()[0] == second.splitlines()[0]
    assert (first.splitlines()[-1], second.splitlines()[-1]) == ("dagster loaded", "dagster not loaded")


def test_a_dagster_yaml_with_settings_of_its_own_follows_classes_that_moved_and_keeps_the_rest(settings: Settings):
    own = TEMPLATE.read_text().replace("ecommerce_platform.orchestration.", "ecommerce_platform.automation.")
    own = own.replace("max_concurrent_runs: 4", "max_concurrent_runs: 9")
    settings.home.mkdir()
    (settings.home / "dagster.yaml").write_text(own)
    with open_instance(settings) as instance:
        assert type(instance).__name__ == "PlatformInstance"
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 9  # type: ignore[union-attr]
    assert "ecommerce_platform.automation" not in (settings.home / "dagster.yaml").read_text()


@pytest.mark.parametrize("change", ["the tables are gone", "other storage", "another release"])
def test_a_home_is_initialised_anew_after(change: str, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    opened = []
    real = dg.DagsterInstance.get
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: (opened.append(1), real())[1])
    home = initialise(settings)
    initialise(settings)
    assert len(opened) == 1
    if change == "the tables are gone":
        shutil.rmtree(home / "history")
    elif change == "other storage":
        (home / "dagster.yaml").write_text((home / "dagster.yaml").read_text() + "# another place\n")
    else:
        monkeypatch.setattr("ecommerce_platform.orchestration.instance.version", lambda _: "99.0")
    initialise(settings)
    initialise(settings)
    assert len(opened) == 2
    assert (home / "history/runs.db").exists()
