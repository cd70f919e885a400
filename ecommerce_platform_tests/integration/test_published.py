"""`ecommerce publish`, `snapshots` and `sql --as-of`, as a user calls them."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.automation.jobs import PUBLISH_JOB, SNAPSHOT
from ecommerce_platform.build import build_definitions
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse import mirror
from ecommerce_platform.warehouse.snapshots import snapshots
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.objectstores import Bucket
from ecommerce_platform_tests.warehouse.published import CUSTOMERS, SUMMARY, PublishingShop, record

QUERY = ("sql", "select customers from gold.kpi_summary", "--csv")


@pytest.fixture
def tiny(shop: Shop) -> PublishingShop:
    return PublishingShop(shop.data, "synthetic")


def test_publish_list_and_ask_for_an_earlier_state(shop: Shop, tiny: PublishingShop) -> None:
    assert "nothing is published yet" in shop.ok("snapshots")
    assert "published 3 tables, 5 rows: " in shop.ok("publish")
    assert "nothing has changed since the last publish: 3 tables, 5 rows stay in" in shop.ok("publish")
    tiny.write(9)
    assert "published 3 tables, 11 rows (1 unchanged and linked): " in shop.ok("publish")
    first, second = snapshots(tiny.published)
    listed = shop.ok("snapshots", TZ="Europe/Berlin")
    assert [line for line in (first.id, second.id, "current", "on disk: ") if line not in listed] == []
    assert shop.ok(*QUERY).split() == ["customers", "9"]
    for as_of in (first.id, first.id[:-1], first.published_at.isoformat()):
        assert shop.ok(*QUERY, "--as-of", as_of).split() == ["customers", "3"]
    asked = shop.run(*QUERY, "--as-of", "1999-12-31")
    assert asked.returncode == 2
    assert "nothing had been published by 1999-12-31" in asked.stderr
    assert first.id in asked.stderr


def test_publish_refuses_what_lags_unless_forced(shop: Shop, tiny: PublishingShop) -> None:
    with tiny.warehouse.connect() as con:
        record(con, CUSTOMERS, 2)
    refused = shop.run("publish", "--wait", "1")
    assert refused.returncode == 2
    lines = refused.stderr.splitlines()
    assert lines[0].startswith("waiting up to 1 s for a build")
    assert f"{SUMMARY} lags behind {CUSTOMERS}" in lines[0]
    assert f"error: {SUMMARY} lags behind {CUSTOMERS} (after waiting " in refused.stderr
    assert "Traceback" not in refused.stderr
    forced = shop.ok("publish", "--force")
    assert "Published although they lag" in forced
    manifest = json.loads((tiny.published / "current" / "manifest.json").read_text())
    assert manifest["lagging"] == {SUMMARY: [CUSTOMERS]}


@pytest.mark.parametrize("keep", ["0", "-1", "many"])
def test_a_wrong_number_of_snapshots_to_keep_names_the_variable(shop: Shop, keep: str) -> None:
    done = shop.run("publish", ECOMMERCE_KEEP_SNAPSHOTS=keep)
    assert done.returncode == 2
    assert "ECOMMERCE_KEEP_SNAPSHOTS" in done.stderr


def test_the_asset_copies_to_an_object_store_and_tries_again_when_it_cannot(
    shop: Shop, tiny: PublishingShop, bucket: Bucket, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=shop.data, publish_url=f"{bucket.url}/published")
    job = build_definitions(settings).resolve_job_def(PUBLISH_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
        event = instance.get_latest_materialization_event(SNAPSHOT)
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert metadata["url"].value == f"{bucket.url}/published"
        assert metadata["tables_uploaded"].value == 3
        tiny.write(9)
        bucket.gate.shut()

        def and_then_it_is_back(*arguments: Any, **more: Any) -> mirror.Mirrored:
            try:
                return copy(*arguments, **more)
            finally:
                bucket.gate.open()

        copy = mirror.mirror
        monkeypatch.setattr(mirror, "mirror", and_then_it_is_back)
        again = job.execute_in_process(instance=instance)
    # Published here at the first try, copied at the second.
    (retry,) = [e for e in again.all_events if e.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert "cannot be reached or does not answer" in str(retry.step_retry_data.error)
    newest = snapshots(tiny.published)[-1].id
    assert json.loads(bucket.get("published/current.json") or b"")["snapshot"] == newest
