"""The servers behind `make ui`, started as it starts them, and their GraphQL API as the UI calls it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ecommerce_platform_tests.conftest import ROOT, Shop

LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "ecommerce_platform"}
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}

T = TypeVar("T")


@dataclass
class Servers:
    """A webserver, a daemon and a code server on one shop."""

    shop: Shop
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer to a query; the only field of it, if there is one."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        (result,) = found["data"].values()
        return result

    def launch(self, job: str, **tags: str) -> str:
        """Launches a job as the UI's launchpad does; the run's id."""
        result = self.ask(
            "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename "
            "... on LaunchRunSuccess { run { runId } } ... on PythonError { message stack } "
            "... on RunConfigValidationInvalid { errors { message } } } }",
            p={
                "selector": {**LOCATION, "jobName": job},
                "mode": "default",
                "runConfigData": {},
                "executionMetadata": {"tags": [{"key": k.replace("__", "/"), "value": v} for k, v in tags.items()]},
            },
        )
        assert result["__typename"] == "LaunchRunSuccess", result
        return str(result["run"]["runId"])

    def runs(self) -> list[dict[str, Any]]:
        """All runs, newest first, with tags as a dictionary."""
        found = self.ask(
            "{ runsOrError(limit: 500) { ... on Runs { results { runId jobName status creationTime startTime endTime "
            "tags { key value } } } } }"
        )["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def switch_on_sensor(self, name: str) -> None:
        result = self.ask(
            "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename "
            "... on Sensor { sensorState { status } } ... on PythonError { message } } }",
            s={**LOCATION, "sensorName": name},
        )
        assert result["__typename"] == "Sensor", result
        assert result["sensorState"]["status"] == "RUNNING"

    def backfill(self, **params: Any) -> str:
        """Launches a backfill; its id."""
        result = self.ask(
            "mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename "
            "... on LaunchBackfillSuccess { backfillId } ... on PythonError { message stack } } }",
            p=params,
        )
        assert result["__typename"] == "LaunchBackfillSuccess", result
        return str(result["backfillId"])

    def backfill_state(self, backfill: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(
            "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status "
            "numPartitions error { message } runs(limit: 100) { id status } } } }",
            id=backfill,
        )
        return found

    def problems(self) -> list[str]:
        """Lines of the servers' log that say that something went wrong or is about to."""
        words = ("ERROR", "WARNING", "Warning:", "Traceback", "database is locked")
        # At its first start the daemon says that it has none yet.
        harmless = "No cursor for event type"
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(word in line for word in words) and harmless not in line]


def wait_for(what: str, ask: Callable[[], T], seconds: float, every: float = 0.5) -> T:
    """The first answer that is true."""
    until = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < until, f"{what} did not come within {seconds:.0f} s"
        time.sleep(every)
    return found


@contextmanager
def serve(shop: Shop) -> Iterator[Servers]:
    """Runs the servers for as long as the block lasts, on a DAGSTER_HOME that `ecommerce setup` has made."""
    shop.ok("setup")
    environment = shop.environment
    for line in shop.ok("variables").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        environment[name] = shlex.split(value)[0] if value else ""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = shop.folder / "servers.log"
    command = [str(Path(sys.executable).with_name("ecommerce")), "ui"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    servers = Servers(shop, port, log, process)

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            location = servers.ask(
                '{ workspaceLocationEntryOrError(name: "ecommerce_platform") { ... on WorkspaceLocationEntry { '
                "loadStatus locationOrLoadError { __typename } } } }"
            )
        except (urllib.error.URLError, ConnectionError):
            return False
        return bool(location.get("locationOrLoadError", {}).get("__typename") == "RepositoryLocation")

    try:
        wait_for("the webserver", up, 300)
        yield servers
    finally:
        process.terminate()
        try:
            process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
