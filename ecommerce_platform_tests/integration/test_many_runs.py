"""Twenty runs launched at once while others read: none fails, no reader waits, each sees one state."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.warehouse.connection import Warehouse
from ecommerce_platform_tests.conftest import ROOT, Shop
from ecommerce_platform_tests.integration.servers import FINISHED, serve, wait_for

READERS = 3
START, END = "dagster__asset_partition_range_start", "dagster__asset_partition_range_end"


class Readers:
    """Dashboards in processes of their own, and `ecommerce sql` again and again, for as long as the block lasts."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.stop = shop, shop.folder / "stop"
        self.sql_seconds: list[float] = []
        self.sql_errors: list[str] = []
        self.reports: list[dict[str, Any]] = []

    def __enter__(self) -> Readers:
        self.files = [self.shop.folder / f"reader{n}.json" for n in range(READERS)]
        published = self.shop.data / "published"
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "ecommerce_platform_tests.integration.reader", published, self.stop, file],
                cwd=ROOT, env=self.shop.environment,
            )
            for file in self.files
        ]  # fmt: skip
        self.thread = threading.Thread(target=self._sql)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.touch()
        self.thread.join()
        for process, file in zip(self.processes, self.files, strict=True):
            process.wait(timeout=60)
            self.reports.append(json.loads(file.read_text()))
        self.stop.unlink()

    def _sql(self) -> None:
        while not self.stop.exists():
            started = time.perf_counter()
            done = replace(self.shop, installed=True).run("sql", "select sum(revenue) from gold.kpi_daily", "--csv")
            self.sql_seconds.append(time.perf_counter() - started)
            if done.returncode or len(done.stdout.split()) != 2:
                self.sql_errors.append(done.stdout + done.stderr)
            time.sleep(1.5)

    def well(self, what: str, longest: float) -> set[str]:
        """Says how it went; the snapshots that were seen."""
        seconds = [s for report in self.reports for s in report["seconds"]]
        for kind, found in (("dashboard", seconds), ("ecommerce sql", self.sql_seconds)):
            p95 = sorted(found)[int(0.95 * (len(found) - 1))]
            print(f"{what}: {len(found)} reads by {kind}, median {statistics.median(found):.2f} s, p95 {p95:.2f} s, longest {max(found):.2f} s")  # fmt: skip
            assert max(found) < longest
        assert [e for report in self.reports for e in report["errors"]] == []
        assert self.sql_errors == []
        return {snapshot for report in self.reports for snapshot in report["snapshots"]}


@pytest.mark.long
@pytest.mark.servers
def test_twenty_runs_at_once_beside_readers(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.ok("generate", "--orders", "3000", "--days", "60")
    days = sorted(folder.name for folder in (shop.data / "raw").iterdir())
    # The last days are not loaded yet: what is published changes while it is read.
    waiting = tmp_path / "waiting"
    waiting.mkdir()
    for day in days[40:]:
        (shop.data / "raw" / day).rename(waiting / day)
    shop.ok("build")
    shop.ok("publish")
    for day in days[40:]:
        (waiting / day).rename(shop.data / "raw" / day)

    # A writer that never lets go of the warehouse is nothing to those who read.
    with Warehouse(shop.data / "warehouse.duckdb", "synthetic").connect(), Readers(shop) as readers:
        time.sleep(8)
    assert len(readers.well("beside a writer that holds the warehouse", 20)) == 1

    with serve(shop) as servers:
        before = {run["runId"] for run in servers.runs()}
        wanted: list[tuple[str, dict[str, str]]] = []
        wanted += [("daily_load", {"dagster__partition": day}) for day in [*days[:3], *days[40:46]]]
        wanted += [("daily_load", {START: a, END: b}) for a, b in [(days[46], days[49]), (days[50], days[59]), (days[0], days[59])]]  # fmt: skip
        wanted += [("publish", {})] * 3
        wanted += [("customer_marts", {})] * 2
        wanted += [("full_checks", {"dagster__partition": days[5]}), ("full_checks", {START: days[0], END: days[9]})]
        # Runs start in the order in which they were asked for: the last one publishes what the loads before it brought.
        last = ("publish", dict[str, str]())
        assert len([*wanted, last]) == 20
        started = time.monotonic()
        most = 0
        with Readers(shop) as readers:
            with ThreadPoolExecutor(len(wanted)) as pool:
                ids = list(pool.map(lambda run: servers.launch(run[0], **run[1]), wanted))
            ids.append(servers.launch(last[0], **last[1]))
            launched = time.monotonic() - started

            def ended() -> list[dict[str, Any]] | None:
                nonlocal most
                runs = [run for run in servers.runs() if run["runId"] not in before]
                most = max(most, sum(run["status"] in ("STARTING", "STARTED", "CANCELING") for run in runs))
                return runs if all(run["status"] in FINISHED for run in runs) else None

            runs = wait_for("the end of all runs", ended, 900, every=1)
        took = time.monotonic() - started
        log = servers.problems()
    print(f"{len(ids)} runs launched in {launched:.1f} s, ended after {took:.0f} s, at most {most} at a time")
    slowest = sorted(((run["endTime"] - run["startTime"], run["jobName"]) for run in runs), reverse=True)[:3]
    print("slowest:", ", ".join(f"{job} {seconds:.0f} s" for seconds, job in slowest))
    assert {run["runId"] for run in runs} == set(ids)
    assert Counter(run["status"] for run in runs) == {"SUCCESS": 20}
    assert most <= 4
    assert len(readers.well("beside twenty runs", 30)) > 1
    assert log == []
    # What came in pieces and in no order is what one load makes.
    shop.ok("build")
    (revenue,) = shop.query("select revenue, orders from gold.kpi_summary")
    alone = Shop(tmp_path / "alone")
    alone.data.mkdir(parents=True)
    (alone.data / "raw").symlink_to(shop.data / "raw")
    alone.ok("build", "--select", 'group:"bronze" or group:"silver" or key:"gold/*"')
    assert alone.query("select revenue, orders from gold.kpi_summary") == [revenue]
