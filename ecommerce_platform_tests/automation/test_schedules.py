"""Schedules ask for the right partition, also on days that are not 24 hours long."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from ecommerce_platform.orchestration.partitions import ONLY_PENDING, Days
from ecommerce_platform_tests.automation.harness import END, START, Shop, make_source, schedule_tick

BERLIN, SYDNEY, SAO_PAULO = "Europe/Berlin", "Australia/Sydney", "America/Sao_Paulo"


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        (BERLIN, "2024-03-30"), (BERLIN, "2024-03-31"), (BERLIN, "2024-04-01"),  # the clock goes forward on the 31st
        (BERLIN, "2024-10-26"), (BERLIN, "2024-10-27"), (BERLIN, "2024-10-28"),  # and back on the 27th
        (BERLIN, "2024-12-31"), (BERLIN, "2025-01-01"), (BERLIN, "2024-02-29"),
        (SYDNEY, "2024-04-07"), (SYDNEY, "2024-10-06"), (SYDNEY, "2024-12-31"), (SYDNEY, "2025-01-01"),
        (SAO_PAULO, "2018-11-04"), (SAO_PAULO, "2019-02-17"),  # midnight does not exist, or twice
    ],
)  # fmt: skip
def test_the_daily_load_is_of_the_shops_day(zone: str, day: str):
    definitions = Shop(make_source("2016-01-01", time_zone=zone)).definitions()
    at = datetime.fromisoformat(f"{day}T05:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    request = schedule_tick(definitions, "daily_load_schedule", at)
    assert isinstance(request, dg.RunRequest)
    assert (request.tags[START], request.tags[END]) == (day, day)
    assert request.tags[ONLY_PENDING] == "true"
    assert request.run_key == day, "a tick evaluated twice launches once"


def test_a_shop_that_begins_later_is_told_so():
    definitions = Shop(make_source("2024-05-02")).definitions()
    skip = schedule_tick(definitions, "daily_load_schedule", datetime(2024, 5, 1, 3, tzinfo=UTC))
    assert isinstance(skip, dg.SkipReason)
    assert "set start_date" in (skip.skip_message or "")


def test_where_drops_have_ceased_nothing_is_loaded_and_whole_tables_are_checked_with_the_newest():
    ended = Days(date(2017, 1, 1), date(2018, 10, 17))
    definitions = Shop(make_source("2016-01-01"), days_now=ended).definitions()
    skip = schedule_tick(definitions, "daily_load_schedule", datetime(2024, 5, 1, 3, tzinfo=UTC))
    assert isinstance(skip, dg.SkipReason)
    assert skip.skip_message == "There is no drop of 2024-05-01: the newest is that of 2018-10-17."
    request = schedule_tick(definitions, "weekly_full_checks", datetime(2024, 5, 5, 2, tzinfo=UTC))
    assert isinstance(request, dg.RunRequest)
    assert (request.tags[START], request.tags[END], request.run_key) == ("2018-10-17", "2018-10-17", "2024-05-05")


def test_the_asked_for_partition_can_be_loaded():
    shop = Shop(make_source("2016-01-01"))
    definitions = shop.definitions()
    with dg.DagsterInstance.ephemeral() as instance:
        schedule = definitions.get_repository_def().get_schedule_def("daily_load_schedule")
        at = datetime(2024, 3, 31, 3, tzinfo=UTC)
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        job = definitions.resolve_job_def(schedule.job_name)
        assert job.execute_in_process(instance=instance, tags=request.tags).success
    assert shop.loaded == [("2024-03-31",)]


def test_times_zones_and_jobs():
    definitions = Shop(make_source()).definitions()
    found = {
        s.name: (s.job_name, s.cron_schedule, s.execution_timezone, s.default_status.value)
        for s in definitions.get_repository_def().schedule_defs
    }
    assert found == {
        "daily_load_schedule": ("daily_load", "0 5 * * *", BERLIN, "STOPPED"),
        "weekly_customer_marts": ("customer_marts", "0 3 * * 1", BERLIN, "STOPPED"),
        "nightly_publish": ("publish", "30 2 * * *", BERLIN, "STOPPED"),
        "weekly_full_checks": ("full_checks", "0 4 * * 0", BERLIN, "STOPPED"),
        "prune_history": ("prune_runs", "30 3 * * *", BERLIN, "RUNNING"),
    }


def test_full_checks_ask_for_the_day_on_which_they_run():
    request = schedule_tick(
        Shop(make_source()).definitions(), "weekly_full_checks", datetime(2024, 3, 31, 3, tzinfo=UTC)
    )
    assert isinstance(request, dg.RunRequest)
    assert (request.tags[START], request.tags[END]) == ("2024-03-31", "2024-03-31")
    assert request.tags[ONLY_PENDING] == "true"


@pytest.mark.parametrize("name", ["weekly_customer_marts", "nightly_publish", "prune_history"])
def test_the_others_just_run_their_job(name: str):
    definitions = Shop(make_source()).definitions()
    with dg.build_schedule_context(scheduled_execution_time=datetime(2024, 3, 31, 1, tzinfo=UTC)) as context:
        (request,) = definitions.get_repository_def().get_schedule_def(name).evaluate_tick(context).run_requests or []
    assert request.partition_key is None
