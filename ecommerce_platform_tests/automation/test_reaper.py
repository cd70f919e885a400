"""Dead runs are found by their process; with real processes that are really killed."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path

import dagster as dg
import psutil
import pytest

from ecommerce_platform.orchestration.reaper import _CLOCK_SLACK, reap_dead_runs
from ecommerce_platform.orchestration.sensors import reaper_sensor
from ecommerce_platform_tests.automation.harness import open_home

FORK = multiprocessing.get_context("fork")
HANGING = FORK.Event()


@dg.op
def hang() -> None:
    HANGING.set()
    time.sleep(600)


@dg.job(name="victim")
def hanging() -> None:
    hang()


def execute(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        hanging.execute_in_process(instance=instance)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_home(tmp_path / "home") as instance:
        yield instance


@pytest.fixture
def victim(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[ForkProcess]:
    """A process that is in the middle of a run: a fork of this one, which need not load Dagster first."""
    HANGING.clear()
    process = FORK.Process(target=execute, args=(tmp_path / "home",))
    process.start()
    assert HANGING.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.fixture
def dead(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run whose process has ended, without the wait for a real one."""
    from dagster._core.events import EngineEventData

    @dg.job
    def nothing() -> None: ...

    ended = subprocess.Popen(["true"])
    ended.wait()
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("Started process for run.", run, EngineEventData.in_process(ended.pid))
    return run


def the_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    (record,) = instance.get_run_records()
    return record.dagster_run


def last_message(instance: dg.DagsterInstance) -> str:
    events = instance.all_logs(the_run(instance).run_id, of_type={dg.DagsterEventType.RUN_FAILURE})
    return events[-1].message


def test_a_killed_run_is_marked_and_a_living_one_is_not(instance: dg.DagsterInstance, victim: ForkProcess):
    assert reap_dead_runs(instance) == []
    assert the_run(instance).status == dg.DagsterRunStatus.STARTED
    victim.kill()
    victim.join()
    assert reap_dead_runs(instance) == [the_run(instance).run_id]
    assert the_run(instance).status == dg.DagsterRunStatus.FAILURE
    assert f"its process {victim.pid} is gone" in last_message(instance)
    assert reap_dead_runs(instance) == []


def test_a_killed_process_that_nobody_waited_for_is_dead_too(instance: dg.DagsterInstance, victim: ForkProcess):
    victim.kill()
    while psutil.Process(victim.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert reap_dead_runs(instance) == [the_run(instance).run_id]


def test_another_process_with_the_same_number_is_not_the_run(
    instance: dg.DagsterInstance, victim: ForkProcess, monkeypatch: pytest.MonkeyPatch
):
    victim.kill()
    victim.join()
    other = subprocess.Popen(["sleep", "60"])

    class Later(psutil.Process):
        """One that began when the run had long recorded its own (the time is known to a second)."""

        def create_time(self) -> float:
            return super().create_time() + _CLOCK_SLACK + 1.5

    try:
        monkeypatch.setattr(psutil, "Process", lambda pid: Later(other.pid if pid == victim.pid else pid))
        assert reap_dead_runs(instance) == [the_run(instance).run_id]
        assert "another one has that number now" in last_message(instance)
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(("later", "gone"), [(1.9, False), (2.1, True)])
def test_a_process_is_another_one_only_when_it_began_after_what_clocks_differ_by(
    instance: dg.DagsterInstance, victim: ForkProcess, monkeypatch: pytest.MonkeyPatch, later: float, gone: bool
):
    (recorded,) = instance.all_logs(the_run(instance).run_id, of_type={dg.DagsterEventType.ENGINE_EVENT})[:1]

    class Began(psutil.Process):
        def create_time(self) -> float:
            return recorded.timestamp + later

    monkeypatch.setattr(psutil, "Process", Began)
    assert bool(reap_dead_runs(instance)) == gone


def test_a_run_that_was_being_canceled_becomes_canceled(instance: dg.DagsterInstance, victim: ForkProcess):
    instance.report_run_canceling(the_run(instance))
    assert reap_dead_runs(instance) == []
    victim.kill()
    victim.join()
    assert reap_dead_runs(instance) == [the_run(instance).run_id]
    assert the_run(instance).status == dg.DagsterRunStatus.CANCELED


def test_a_run_launched_on_another_host_is_left_alone(instance: dg.DagsterInstance, dead: dg.DagsterRun):
    instance.add_run_tags(dead.run_id, {".dagster/grpc_info": json.dumps({"host": "elsewhere"})})
    assert reap_dead_runs(instance) == []
    instance.add_run_tags(dead.run_id, {".dagster/grpc_info": json.dumps({"host": "localhost"})})
    assert reap_dead_runs(instance) == [dead.run_id]


def test_a_run_that_ends_while_it_is_looked_at_is_left_alone(
    instance: dg.DagsterInstance, dead: dg.DagsterRun, monkeypatch: pytest.MonkeyPatch
):
    ended = dead.with_status(dg.DagsterRunStatus.SUCCESS)
    monkeypatch.setattr(type(instance), "get_run_by_id", lambda self, run_id: ended)
    assert reap_dead_runs(instance) == []


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "SUCCESS"])
def test_runs_without_a_process_are_not_its_business(instance: dg.DagsterInstance, status: str):
    @dg.job
    def nothing() -> None: ...

    instance.create_run_for_job(nothing, status=dg.DagsterRunStatus(status))
    assert reap_dead_runs(instance) == []


def test_a_run_killed_before_it_recorded_its_process_is_dead_when_a_start_would_have_timed_out(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    @dg.job
    def nothing() -> None: ...

    run = instance.create_run_for_job(nothing)
    started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, nothing.name)
    instance.report_dagster_event(started, run.run_id)
    assert the_run(instance).status == dg.DagsterRunStatus.STARTED
    assert reap_dead_runs(instance) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 181)
    assert reap_dead_runs(instance) == [run.run_id]


def test_nothing_to_do_is_one_query(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked for more")

    monkeypatch.setattr(type(instance), "all_logs", never)
    monkeypatch.setattr(type(instance), "get_run_by_id", never)
    started = time.perf_counter()
    assert reap_dead_runs(instance) == []
    print(f"nothing to reap: {(time.perf_counter() - started) * 1000:.1f} ms")


def test_the_sensor_says_what_it_did(instance: dg.DagsterInstance, dead: dg.DagsterRun):
    def say() -> str:
        with dg.build_sensor_context(instance=instance) as context:
            found = reaper_sensor()(context)
        assert isinstance(found, dg.SkipReason)
        return found.skip_message or ""

    assert dead.run_id in say()
    assert "alive" in say()


def test_the_launcher_still_records_the_host_under_this_tag():
    from dagster._core.storage.tags import GRPC_INFO_TAG

    from ecommerce_platform.orchestration import reaper

    assert reaper._GRPC_INFO == GRPC_INFO_TAG
