"""`ecommerce publish`, `snapshots` and `sql --as-of`, as a user calls them."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.operations.publications import run_publish
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.instance import open_instance
from ecommerce_platform.orchestration.jobs import PUBLISH_JOB, SNAPSHOT
from ecommerce_platform.publishing import mirror
from ecommerce_platform.reading.snapshots import snapshots
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.leftout import leave_out
from ecommerce_platform_tests.objectstores import Bucket
from ecommerce_platform_tests.reading.hostile import everything
from ecommerce_platform_tests.warehouse.published import CUSTOMERS, SUMMARY, PublishingShop, record

pytestmark = pytest.mark.shops

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


def test_a_damaged_file_is_named_and_repaired(shop: Shop, tiny: PublishingShop) -> None:
    shop.ok("publish")
    assert "all files of 1 snapshots are what was published" in shop.ok("snapshots", "--verify")
    (first,) = snapshots(tiny.published)
    file = first.folder / "silver" / "customers.parquet"
    content = bytearray(file.read_bytes())
    for place in random.Random(1).sample(range(len(content)), 200):
        content[place] ^= 0xFF
    file.write_bytes(content)
    verified = shop.run("snapshots", "--verify")
    assert verified.returncode == 1
    for part in (first.id, CUSTOMERS, "its content is not what was published", "`ecommerce publish`"):
        assert part in verified.stdout
    published = shop.run("publish")
    assert published.returncode == 0
    assert f"{CUSTOMERS} in the snapshot {first.id} is damaged and written anew" in published.stderr
    assert "all files of 2 snapshots are what was published" in shop.ok("snapshots", "--verify")


@pytest.mark.long
def test_a_query_reads_tables_and_shows_values_as_they_are(shop: Shop, tiny: PublishingShop) -> None:
    shop.ok("publish")
    before = everything(shop.folder)
    for sql in (
        f"select * from read_text('{tiny.published / '.hash_key'}')",
        f"copy (select 1) to '{snapshots(tiny.published)[0].folder / 'gold' / 'kpi_summary.parquet'}' (use_tmp_file false)",
        f"attach '{tiny.warehouse.path}' as w",
        "select 1; select 2",
    ):
        refused = shop.run("sql", sql)
        assert refused.returncode == 2, sql
        assert "Traceback" not in refused.stderr
    late = shop.run("sql", "select count(*) from range(10000000000) a, range(1000) b", ECOMMERCE_QUERY_SECONDS="0.5")
    assert late.returncode == 2
    assert "the query was stopped after 0.5 s" in late.stderr
    assert everything(shop.folder) == before
    assert "│ a:x:0 [b]x[/b] │ 1,234.50 │" in shop.ok("sql", "select 'a:x:0 [b]x[/b]' as v, 1234.5 as n")
    exact = shop.ok("sql", "select 1234.56789012 as n, null as none", "--csv")
    assert exact.split() == ["n,none", "1234.56789012,"]


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


def test_a_publish_by_hand_is_a_run_of_the_job_with_what_came_of_it(
    shop: Shop, tiny: PublishingShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    settings = read_settings(data_dir=shop.data)
    told: list[str] = []
    snapshot = run_publish(settings, 0, progress=lambda table, *_: told.append(table))
    with tiny.warehouse.connect() as con:
        record(con, CUSTOMERS, 2)  # customers are newer than what is made from them
    with pytest.raises(InputError, match="the current snapshot stays"):
        run_publish(settings, 0)
    forced = run_publish(settings, 0, force=True)
    with open_instance(settings) as instance:
        last, failed, first = [r.dagster_run for r in instance.get_run_records()]
        event = instance.get_latest_materialization_event(SNAPSHOT)
        assert event is not None
        assert event.asset_materialization is not None
    assert {run.job_name for run in (last, failed, first)} == {PUBLISH_JOB}
    assert {run.tags[".dagster/repository"] for run in (last, failed, first)} == {"__repository__@ecommerce_platform"}
    kinds = dg.DagsterRunStatus
    assert [run.status for run in (first, failed, last)] == [kinds.SUCCESS, kinds.FAILURE, kinds.SUCCESS]
    assert told == sorted(tiny.tables)
    assert json.loads((snapshot.folder / "manifest.json").read_text())["run_id"] == first.run_id
    assert (event.run_id, event.asset_materialization.metadata["snapshot"].value) == (last.run_id, forced.id)
    assert forced.lagging == {SUMMARY: [CUSTOMERS]}


@pytest.mark.parametrize("keep", ["0", "-1", "many"])
def test_a_wrong_number_of_snapshots_to_keep_names_the_variable(shop: Shop, keep: str) -> None:
    done = shop.run("publish", ECOMMERCE_KEEP_SNAPSHOTS=keep)
    assert done.returncode == 2
    assert "ECOMMERCE_KEEP_SNAPSHOTS" in done.stderr


def told(instance: dg.DagsterInstance) -> Any:
    """The metadata of the newest snapshot."""
    event = instance.get_latest_materialization_event(SNAPSHOT)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization.metadata


def test_the_command_and_the_asset_write_delta_tables(shop: Shop, tiny: PublishingShop) -> None:
    if importlib.util.find_spec("deltalake") is None:
        leave_out("deltalake is not installed", "pip install 'ecommerce_platform[delta]' -c constraints.txt")
    folder = shop.folder / "delta"
    delta = {"ECOMMERCE_DELTA_DIR": str(folder)}
    assert "Delta tables in delta: 3 written, 0 unchanged" in shop.ok("publish", **delta)
    assert "the Delta tables in delta are up to date" in shop.ok("publish", **delta)
    tiny.write(9)
    job = build_definitions(Settings(data_dir=shop.data, delta_dir=folder)).resolve_job_def(PUBLISH_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
        metadata = told(instance)
    assert (metadata["delta"].value, metadata["delta_tables_written"].value) == (str(folder), 2)
    newest = snapshots(tiny.published)[-1].id
    assert json.loads((folder / "snapshot.json").read_text())["snapshot"] == newest


def test_the_asset_copies_to_an_object_store_and_tries_again_when_it_cannot(
    shop: Shop, tiny: PublishingShop, bucket: Bucket, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=shop.data, publish_url=f"{bucket.url}/published")
    job = build_definitions(settings).resolve_job_def(PUBLISH_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance).success
        metadata = told(instance)
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
