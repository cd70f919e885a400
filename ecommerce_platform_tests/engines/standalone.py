"""A real Spark cluster on this machine: a master and workers, each a process of its own, on loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ecommerce_platform_tests.engines.parity import QUICK, SMALL

_READY = {"Master": r"Starting Spark master at (spark://\S+)", "Worker": r"(Successfully registered) with master"}


@dataclass
class Standalone:
    """The processes of a cluster."""

    folder: Path
    master: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def workers(self) -> list[str]:
        """Names of the workers that live."""
        return [n for n, process in self.processes.items() if n != "master" and process.poll() is None]

    @property
    def environment(self) -> dict[str, str]:
        """What a build needs to run here, with as little to do as possible for so few rows."""
        defaults = self.folder / "conf" / "spark-defaults.conf"
        defaults.parent.mkdir(exist_ok=True)
        # Two executors for the smallest of jobs too, so that whichever worker is killed had something to do.
        # And no Python, which workers need not have.
        wanted = {
            **SMALL,
            "spark.sql.shuffle.partitions": "2",
            "spark.executor.extraJavaOptions": QUICK,
            "spark.pyspark.python": "/nowhere/python",
        }
        defaults.write_text("".join(f"{name} {value}\n" for name, value in wanted.items()))
        return {
            "ECOMMERCE_ENGINE": "spark",
            "ECOMMERCE_SPARK_MASTER": self.master,
            "ECOMMERCE_SPARK_MEMORY": "700m",
            "SPARK_CONF_DIR": str(defaults.parent),
            "JDK_JAVA_OPTIONS": QUICK,
        }

    def start(self, name: str) -> str:
        """Starts the master or a worker; what it says of itself when it is ready."""
        kind = "Master" if name == "master" else "Worker"
        log = self.folder / f"{name}.log"
        work = ["--cores", "1", "--memory", "800m", "--work-dir", str(self.folder / name), self.master]
        command = [
            _java(), *QUICK.split(), "-Xmx256m", "-cp", f"{_jars()}/*", f"org.apache.spark.deploy.{kind.lower()}.{kind}",
            "--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *(work if kind == "Worker" else ()),
        ]  # fmt: skip
        # The launcher of executors would look for a build of Spark to learn which Scala it is.
        told = {"SPARK_HOME": str(_jars().parent), "SPARK_SCALA_VERSION": "2.13", "SPARK_LOCAL_IP": "127.0.0.1"}
        with log.open("wb") as out:
            self.processes[name] = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self.folder, env={**os.environ, **told}
            )
        until = time.monotonic() + 60
        while not (found := re.search(_READY[kind], log.read_text(errors="replace"))):
            assert time.monotonic() < until and self.processes[name].poll() is None, log.read_text()  # noqa: PT018
            time.sleep(0.1)
        return found[1]

    def kill(self, name: str) -> int:
        """SIGKILL for a process and those it has started, as when its machine goes; how many there were."""
        found = psutil.Process(self.processes[name].pid)
        gone = [found, *found.children(recursive=True)]
        for process in gone:
            process.send_signal(signal.SIGKILL)
        self.processes[name].wait(timeout=30)
        return len(gone)

    def ran(self, name: str) -> list[Path]:
        """Folders of the executors that a worker has had."""
        return sorted((self.folder / name).glob("app-*/*"))


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Standalone]:
    """A master and workers of one core each, for as long as the block lasts."""
    found = Standalone(folder)
    try:
        found.master = found.start("master")
        for number in range(workers):
            found.start(f"worker{number}")
        yield found
    finally:
        for name, process in found.processes.items():
            if process.poll() is None:
                found.kill(name)


@dataclass
class Connect:
    """A Spark Connect server in a process of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"sc://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        settings = {
            **SMALL,
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.port),
        }
        command = [
            str(_jars().with_name("bin") / "spark-submit"), "--master", "local[2]", "--driver-memory", "900m",
            "--driver-java-options", QUICK, *(word for pair in settings.items() for word in ("--conf", "=".join(pair))),
            "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal",
        ]  # fmt: skip
        log = self.folder / "connect.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder)
        until = time.monotonic() + 60
        while not self._listens():
            assert time.monotonic() < until and self.process.poll() is None, log.read_text()  # noqa: PT018
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL, as when its machine goes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def connect_server(folder: Path) -> Iterator[Connect]:
    """A Spark Connect server for as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Connect(folder, free.getsockname()[1])
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin", "java")) if home else shutil.which("java") or "java"


def _jars() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent / "jars"
