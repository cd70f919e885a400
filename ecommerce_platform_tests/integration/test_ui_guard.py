"""The running UI: what other pages of the same browser would send is refused, and what it has started ends with it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.integration.servers import Servers, serve, wait_for

pytestmark = [pytest.mark.long, pytest.mark.servers]

#: What starts a run: of a job that exists, so that it would really start.
LAUNCH = (
    'mutation { launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {repositoryName: '
    '"__repository__", repositoryLocationName: "ecommerce_platform", jobName: "prune_runs"}}) { __typename } }'
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    shop = Shop(tmp_path_factory.mktemp("guarded"))
    with serve(shop) as servers:
        yield servers


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_servers_that_a_script_started_and_ended(tmp_path: Path, how: signal.Signals) -> None:
    shop = Shop(tmp_path)
    # What a script puts into the background hears no SIGINT.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with serve(shop) as servers:
            started = [process for process in psutil.process_iter() if belongs_to(process, servers.process.pid)]
            assert len(started) >= 4
            servers.process.send_signal(how)
            servers.process.wait(timeout=90)
            wait_for("the end of all processes", lambda: not any(map(runs, started)), 60)
    finally:
        signal.signal(signal.SIGINT, before)


def belongs_to(process: psutil.Process, parent: int) -> bool:
    try:
        return parent in (other.pid for other in process.parents())
    except psutil.Error:
        return False


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def send(servers: Servers, method: str, path: str, body: str | None = None, **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", servers.port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    status = connection.getresponse().status
    connection.close()
    return status


def shake_hands(servers: Servers, **headers: str) -> int:
    """The status that a WebSocket handshake is answered with; 101 is a connection."""
    given = {"Host": f"127.0.0.1:{servers.port}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    with socket.create_connection(("127.0.0.1", servers.port), timeout=60) as wire:
        wire.sendall(
            f"GET /graphql HTTP/1.1\r\n{lines}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-ws\r\n\r\n".encode()
        )
        return int(wire.recv(100).split()[1])


def test_only_its_own_pages_and_scripts_start_runs(servers: Servers) -> None:
    from urllib.parse import quote

    own = f"http://127.0.0.1:{servers.port}"
    asked, in_url = json.dumps({"query": LAUNCH}), f"/graphql?query={quote(LAUNCH)}"
    as_json = {"Content_Type": "application/json"}
    assert send(servers, "GET", in_url) == 405
    assert send(servers, "POST", in_url) == 415
    assert send(servers, "POST", in_url, "x", Content_Type="text/plain", Origin="http://evil.example") == 403
    assert send(servers, "POST", "/graphql", asked, Content_Type="text/plain") == 415
    assert send(servers, "POST", "/graphql", LAUNCH, Content_Type="application/graphql") == 415
    assert send(servers, "POST", "/graphql", asked, **as_json, Origin="http://evil.example") == 403
    assert send(servers, "POST", "/graphql", asked, **as_json, Sec_Fetch_Site="cross-site") == 403
    assert send(servers, "POST", "/graphql", asked, **as_json, Host="evil.example") == 421
    assert send(servers, "POST", "/report_asset_materialization/gold/kpi_daily?data_version=1") == 415
    assert send(servers, "GET", "/", Host="evil.example") == 421
    assert servers.runs() == []
    assert send(servers, "GET", "/runs") == 200
    assert send(servers, "POST", "/graphql", asked, **as_json, Origin=own, Sec_Fetch_Site="same-origin") == 200
    assert [run["jobName"] for run in servers.runs()] == ["prune_runs"]


def test_a_websocket_is_opened_for_its_own_pages_alone(servers: Servers) -> None:
    own = f"http://127.0.0.1:{servers.port}"
    assert shake_hands(servers, Origin=own) == 101
    assert shake_hands(servers) == 101
    assert shake_hands(servers, Origin="http://evil.example") == 403
    assert shake_hands(servers, Origin="null") == 403
    assert shake_hands(servers, Host="evil.example", Origin="http://evil.example") == 403
