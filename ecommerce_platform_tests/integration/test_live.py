"""The real servers, driven through their GraphQL API: drops land, are loaded and published; a backfill survives a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ecommerce_platform.ingestion.watch import MARKER
from ecommerce_platform.reading.snapshots import snapshots
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.integration.servers import LOCATION, Servers, serve, wait_for

pytestmark = [pytest.mark.long, pytest.mark.servers]
DAYS = 12
#: A chain without gaps: what stands behind a gap, Dagster leaves out of a backfill without a word.
SOME = [
    ["silver", "orders"], ["silver", "order_items"], ["gold", "fct_order_items"], ["gold", "fct_orders"],
    ["gold", "fct_days"], ["gold", "kpi_daily"],
]  # fmt: skip
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose drops wait outside."""
    shop = Shop(tmp_path_factory.mktemp("live"))
    shop.ok("generate", "--orders", "600", "--days", str(DAYS))
    shutil.move(shop.data / "raw", shop.folder / "waiting")
    return shop


@pytest.fixture(scope="module")
def days(shop: Shop) -> list[str]:
    return sorted(folder.name for folder in (shop.folder / "waiting").iterdir())


@pytest.fixture(scope="module")
def servers(shop: Shop, days: list[str]) -> Iterator[Servers]:
    with serve(shop) as servers:
        yield servers


def land(shop: Shop, day: str) -> None:
    """A drop as somebody else puts it there: file by file, and the marker when all are there."""
    folder = shop.data / "raw" / day
    folder.mkdir(parents=True)
    for file in (shop.folder / "waiting" / day).iterdir():
        shutil.copy(file, folder)
    (folder / MARKER).touch()


def partitions(servers: Servers, key: list[str]) -> dict[str, Any]:
    """How many partitions of an asset are in which state, and its newest events by partition."""
    found = servers.ask(
        "query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode { "
        "partitionStats { numMaterialized numFailed numMaterializing } "
        "assetMaterializations(limit: 200) { partition runId metadataEntries { label ... on IntMetadataEntry { intValue } } } "
        "} } }",
        k={"path": key},
    )
    events: dict[str, dict[str, Any]] = {}
    for event in found["assetMaterializations"]:
        numbers = {entry["label"]: entry.get("intValue") for entry in event["metadataEntries"]}
        events.setdefault(event["partition"], {"run": event["runId"], **numbers})
    return {**found["partitionStats"], "events": events}


def test_drops_that_land_are_loaded_and_published(shop: Shop, servers: Servers, days: list[str]) -> None:
    servers.switch_on_sensor("raw_drops")
    servers.switch_on_sensor("automation")
    started = time.monotonic()
    for day in days[:-1]:
        land(shop, day)

    def loaded() -> bool:
        return partitions(servers, ["gold", "kpi_daily"])["numMaterialized"] == DAYS - 1

    wait_for("the load of all days", loaded, 600, every=2)
    print(f"\n{DAYS - 1} days loaded {time.monotonic() - started:.0f} s after they landed")
    wait_for("a snapshot", lambda: snapshots(shop.data / "published"), 600, every=2)
    print(f"published after {time.monotonic() - started:.0f} s")
    # One more drop: another run, another snapshot.
    land(shop, days[-1])
    wait_for("the next snapshot", lambda: len(snapshots(shop.data / "published")) > 1, 600, every=2)
    print(f"one more day landed, loaded and published after {time.monotonic() - started:.0f} s")
    newest = snapshots(shop.data / "published")[-1]
    assert newest.newest_load is not None
    assert newest.newest_load.isoformat() == days[-1]
    assert newest.lagging == {}
    of_sensor = [run for run in servers.runs() if run["tags"].get("dagster/sensor_name") == "raw_drops"]
    assert {run["status"] for run in of_sensor} == {"SUCCESS"}
    assert of_sensor[0]["tags"][START] == of_sensor[0]["tags"][END] == days[-1]
    assert len(of_sensor) <= 3  # neighbouring days share a run, however the ticks fell


def test_a_backfill_of_assets_is_one_run_and_every_partition_tells_its_rows(servers: Servers, days: list[str]) -> None:
    backfill = servers.backfill(assetSelection=[{"path": path} for path in SOME], partitionNames=days)
    done = wait_for("the backfill", lambda: _finished(servers, backfill), 600, every=1)
    assert done["status"] == "COMPLETED_SUCCESS", done
    assert done["numPartitions"] == DAYS
    assert [run["status"] for run in done["runs"]] == ["SUCCESS"]
    for key in SOME:
        found = partitions(servers, key)
        assert (found["numMaterialized"], found["numFailed"], found["numMaterializing"]) == (DAYS, 0, 0), key
        assert {event["run"] for event in found["events"].values()} == {done["runs"][0]["id"]}, key
    for key in SOME[:2]:
        events = partitions(servers, key)["events"]
        assert set(events) == set(days)
        assert all(event["rows_landed"] >= event["rows_loaded"] > 0 for event in events.values()), key


def test_a_backfill_whose_run_is_killed_goes_on(shop: Shop, servers: Servers, days: list[str]) -> None:
    backfill = servers.backfill(
        selector={
            "partitionSetName": "daily_load_partition_set",
            "repositorySelector": LOCATION,
        },
        partitionNames=days,
    )
    started = time.monotonic()
    run = wait_for("the backfill's run", lambda: _at_work(servers, backfill), 300, every=0.2)
    process = wait_for("its process", lambda: _process_of(servers, run["runId"]), 300, every=0.1)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    # The code server marks a run that it has launched itself; nobody but the reaper looks after the command line's.
    command = subprocess.Popen(
        [str(Path(sys.executable).with_name("ecommerce")), "build"],
        env=shop.environment, cwd=shop.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    alone = wait_for("a run of the command line", lambda: _started(servers, "build"), 300, every=0.1)
    command.kill()
    command.wait()
    queued = servers.launch("publish")

    for killed_run in (run["runId"], alone):
        wait_for("the mark on the killed run", lambda r=killed_run: _status(servers, r) == "FAILURE", 600, every=1)
        print(f"\na killed run was marked as failed after {time.monotonic() - killed:.0f} s")
    assert "is gone" in servers.log.read_text()
    done = wait_for("the backfill", lambda: _finished(servers, backfill), 600, every=1)
    print(f"the backfill ended as {done['status']} after {time.monotonic() - started:.0f} s")
    # All days are one run, and one more in its place. That one was killed stays with the backfill, as Dagster has it.
    assert sorted(run["status"] for run in done["runs"]) == ["FAILURE", "SUCCESS"]
    found = partitions(servers, ["gold", "kpi_daily"])
    assert (found["numMaterialized"], found["numFailed"], found["numMaterializing"]) == (DAYS, 0, 0)
    wait_for("the run behind it", lambda: _status(servers, queued) == "SUCCESS", 600, every=1)
    assert shop.query("select count(*) > 0, min(_load_date)::varchar, max(_load_date)::varchar from silver.loads") == [(True, days[0], days[-1])]  # fmt: skip


def test_the_servers_had_nothing_to_complain_of(servers: Servers) -> None:
    unexpected = [line for line in servers.problems() if not any(known in line for known in _EXPECTED)]
    assert unexpected == []


#: What a killed run leaves in the log, and should.
_EXPECTED = ("its process", "exited unexpectedly", "RUN_FAILURE", "ENGINE_EVENT")


def _finished(servers: Servers, backfill: str) -> dict[str, Any] | None:
    state = servers.backfill_state(backfill)
    return state if state["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None


def _at_work(servers: Servers, backfill: str) -> dict[str, Any] | None:
    runs = [run for run in servers.runs() if run["tags"].get("dagster/backfill") == backfill]
    return next((run for run in runs if run["status"] == "STARTED"), None)


def _started(servers: Servers, job: str) -> str | None:
    return next((run["runId"] for run in servers.runs() if run["jobName"] == job and run["status"] == "STARTED"), None)


def _process_of(servers: Servers, run_id: str) -> psutil.Process | None:
    """The process that works on a run, as the run has recorded it."""
    after, more = None, True
    while more:  # a page has a thousand events, and every partition and check that is planned is one
        found = servers.ask(
            "query($r: ID!, $a: String) { logsForRun(runId: $r, afterCursor: $a) { ... on EventConnection { cursor hasMore "
            "events { __typename ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } "
            "... on IntMetadataEntry { intValue } } } } } } }",
            r=run_id, a=after,
        )  # fmt: skip
        for event in found["events"]:
            for entry in event.get("metadataEntries") or ():
                if entry["label"] == "pid":
                    pid = int(entry.get("text") or entry["intValue"])
                    assert pid != os.getpid()
                    return psutil.Process(pid)
        after, more = found["cursor"], found["hasMore"]
    return None


def _status(servers: Servers, run_id: str) -> str:
    return next(run["status"] for run in servers.runs() if run["runId"] == run_id)
