"""Real object stores for tests: Azurite (Azure Blob) and moto's server (S3), each on a free port of this machine.

They are started once per test process; every test gets a container (bucket) of its own, and reaches it through a gate
that can be shut, which is what a store that stops looks like. `conftest.py` offers the fixtures to all tests.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from ecommerce_platform.object_store import ObjectStore
from ecommerce_platform_tests.leftout import leave_out

KINDS = ("azure", "s3")
#: The account that Azurite has by itself; its key is published in its documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#: All variables that the stores' libraries read, so that nothing of this machine's leaks into a test.
VARIABLES = tuple(name for name in os.environ if name.startswith(("AZURE_", "AWS_")))


class Gate:
    """Passes connections on to a server while it is open; shut, it ends those there are and takes no new ones."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open = True
        #: How many more connections' worth of bytes towards the client pass before the gate shuts by itself.
        self.bytes_left: float = float("inf")
        #: The request that shuts the gate: what a request holds in it.
        self._shutting: bytes | None = None
        #: Set when the gate has shut by itself.
        self.has_shut = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        self._open = False
        for pair in list(self._pairs):
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self.bytes_left = float("inf")
        self._open = True

    def shut_after(self, count: int) -> None:
        """Shuts when the server has answered with so many bytes from now on."""
        self.bytes_left = count

    def shut_at(self, request: str) -> None:
        """Shuts when `request` (a part of a file's name) is asked for the next time, before it is answered."""
        self._shutting = request.encode()

    def remove(self) -> None:
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        pair = (client, server)
        self._pairs.add(pair)
        with client, server, suppress(OSError):
            while self._open:
                for end in select.select(pair, (), (), 1)[0]:
                    if not (chunk := end.recv(1 << 16)):
                        return
                    if end is server:
                        self.bytes_left -= len(chunk)
                    if self.bytes_left < 0 or (end is client and self._shutting and self._shutting in chunk):
                        self._shutting = None
                        self.shut()
                        self.has_shut.set()
                        return
                    (server if end is client else client).sendall(chunk)
        self._pairs.discard(pair)


@dataclass
class StoreServer:
    """A running server of one kind."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]

    def environment(self, port: int, key: str = KEY) -> dict[str, str]:
        """The variables with which a store's library finds the server at `port`."""
        if self.kind == "azure":
            return {
                "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};"
                f"AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
            }
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@dataclass
class Bucket:
    """A container (bucket) of one test, behind a gate."""

    kind: str
    name: str
    gate: Gate
    environment: dict[str, str]
    #: Opened on the server itself, whatever becomes of the gate.
    _store: ObjectStore = field(repr=False)

    @property
    def url(self) -> str:
        return f"{'az' if self.kind == 'azure' else 's3'}://{self.name}"

    def put(self, name: str, content: bytes | str) -> None:
        self._store.write(name, content.encode() if isinstance(content, str) else content)

    def put_folder(self, folder: Path, prefix: str) -> int:
        """Uploads all files of a folder that are not hidden; how many."""
        from ecommerce_platform.object_store import each

        files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
        each(lambda p: self.put(f"{prefix}/{p.relative_to(folder)}", p.read_bytes()), files)
        return len(files)

    def get(self, name: str) -> bytes | None:
        return self._store.read(name)

    def names(self, below: str = "") -> list[str]:
        return sorted(self._store.objects(below))

    def remove(self, *names: str) -> None:
        self._store.remove(names)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def azurite() -> str:
    """The command that starts Azurite; without one the tests that need it are left out (in CI they fail)."""
    own = Path(sys.executable).parents[1] / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    found = os.environ.get("ECOMMERCE_TEST_AZURITE") or (str(own) if own.exists() else shutil.which("azurite-blob"))
    if not found or not Path(found).exists():
        leave_out(
            "Azurite, which stands in for Azure Blob Storage, is missing",
            "run `make azurite` (needs npm), or set ECOMMERCE_TEST_AZURITE to its azurite-blob",
        )
    return found


def start(kind: str, folder: Path, **environment: str) -> StoreServer:
    """Starts a server and waits until it answers."""
    port = free_port()
    if kind == "azure":
        command = [azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    else:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = folder / f"{kind}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **environment}
        )
    until = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            break
        except urllib.error.HTTPError:
            break  # an answer, if a refusal
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                pytest.fail(f"the server for {kind} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
    return StoreServer(kind, port, process)


@pytest.fixture(scope="session")
def store_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StoreServer]]:
    """The servers of this test process, each started when it is first asked for."""

    class Started(dict[str, StoreServer]):
        def __missing__(self, kind: str) -> StoreServer:
            self[kind] = start(kind, tmp_path_factory.mktemp("servers"))
            return self[kind]

    servers = Started()
    try:
        yield servers
    finally:
        for server in servers.values():
            server.process.kill()
            server.process.wait()


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.shops) for kind in KINDS])
def bucket(
    request: pytest.FixtureRequest, store_servers: dict[str, StoreServer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """A fresh container on each kind of store; the environment leads to it, and only to it."""
    server = store_servers[request.param]
    for name in VARIABLES:
        monkeypatch.delenv(name)
    gate = Gate(server.port)
    name = f"shop-{uuid4().hex[:12]}"
    with monkeypatch.context() as direct:
        for variable, value in server.environment(server.port).items():
            direct.setenv(variable, value)
        store = ObjectStore(f"{'az' if server.kind == 'azure' else 's3'}://{name}")
        store.fs.mkdir(name)
        store.objects()  # connects while the environment still leads to the server itself
    environment = server.environment(gate.port)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    try:
        yield Bucket(server.kind, name, gate, environment, store)
    finally:
        gate.remove()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores that do not answer are given up at once; to be asked for before anything is opened."""
    monkeypatch.setattr("ecommerce_platform.object_store._TRIES", 1)
    monkeypatch.setattr("ecommerce_platform.object_store._PAUSE", 0)
