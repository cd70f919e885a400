"""The snapshot follows what is below it: once, not too early, and although most days are missing."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from ecommerce_platform.orchestration.partitions import LOAD_JOB, range_tags
from ecommerce_platform_tests.automation.harness import Conditions, Shop, make_source

KEY = "publish/snapshot"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def shop() -> dg.Definitions:
    return Shop(make_source()).definitions()


def load(shop: dg.Definitions, instance: dg.DagsterInstance, day: str) -> None:
    assert shop.resolve_job_def(LOAD_JOB).execute_in_process(instance=instance, partition_key=day).success


def publish(shop: dg.Definitions, instance: dg.DagsterInstance) -> None:
    assert shop.resolve_job_def("publish").execute_in_process(instance=instance).success


def loading(shop: dg.Definitions, instance: dg.DagsterInstance, first: str, last: str) -> dg.DagsterRun:
    """A load that has started and is not done."""
    from datetime import date

    job = shop.resolve_job_def(LOAD_JOB)
    tags = range_tags(date.fromisoformat(first), date.fromisoformat(last))
    run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    return run


def test_it_fires_once_after_an_update_though_days_are_missing(shop: dg.Definitions, instance: dg.DagsterInstance):
    conditions = Conditions(instance, shop)
    assert conditions.tick() == []
    load(shop, instance, "2024-03-01")
    assert conditions.tick() == [KEY]
    publish(shop, instance)
    assert [conditions.tick() for _ in range(3)] == [[], [], []]
    load(shop, instance, "2024-03-02")
    load(shop, instance, "2024-03-03")
    assert conditions.tick() == [KEY]
    publish(shop, instance)
    assert conditions.tick() == []


def test_switching_it_on_publishes_nothing_by_itself(shop: dg.Definitions, instance: dg.DagsterInstance):
    load(shop, instance, "2024-03-01")
    conditions = Conditions(instance, shop)
    assert [conditions.tick() for _ in range(2)] == [[], []]


def test_it_waits_while_a_load_is_in_progress_and_forgets_nothing(shop: dg.Definitions, instance: dg.DagsterInstance):
    conditions = Conditions(instance, shop)
    conditions.tick()
    run = loading(shop, instance, "2024-03-02", "2024-03-02")
    load(shop, instance, "2024-03-01")
    assert [conditions.tick() for _ in range(2)] == [[], []]
    instance.report_run_failed(run)
    assert conditions.tick() == [KEY]
    assert conditions.tick() == []


def test_it_does_not_fire_while_it_is_in_progress_itself(shop: dg.Definitions, instance: dg.DagsterInstance):
    conditions = Conditions(instance, shop)
    conditions.tick()
    run = instance.create_run_for_job(shop.resolve_job_def("publish"), status=dg.DagsterRunStatus.STARTED)
    load(shop, instance, "2024-03-01")
    assert conditions.tick() == []
    instance.report_run_failed(run)
    assert conditions.tick() == [KEY]


def test_a_publish_that_failed_waits_for_the_next_update(shop: dg.Definitions, instance: dg.DagsterInstance):
    conditions = Conditions(instance, shop)
    conditions.tick()
    load(shop, instance, "2024-03-01")
    assert conditions.tick() == [KEY]
    run = instance.create_run_for_job(shop.resolve_job_def("publish"), status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    assert conditions.tick() == []
    load(shop, instance, "2024-03-02")
    assert conditions.tick() == [KEY]
