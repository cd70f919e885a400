"""A standalone Spark cluster on this machine: a master and two workers, processes of their own on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Cluster:
    master: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    killed: bool = False

    @contextmanager
    def kill_a_worker_when(self, due: Callable[[], bool]) -> Iterator[None]:
        """A block during which one worker, with its executors, is killed as soon as `due` says so."""
        ended = threading.Event()

        def wait() -> None:
            while not ended.wait(0.1):
                if due():
                    _kill(self.workers[0])
                    self.killed = True
                    return

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _kill(process: subprocess.Popen[bytes]) -> None:
    import psutil

    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
    except psutil.NoSuchProcess:
        pass
    process.kill()
    process.wait()


@contextmanager
def standalone_cluster(folder: Path) -> Iterator[Cluster]:
    """One core and 800 MB for each of two workers; all processes are gone afterwards."""
    import sys

    import pyspark

    home, port = Path(pyspark.__file__).parent, free_port()
    environment = {
        **os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_DIRS": str(folder),
    }  # fmt: skip

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            str(home / "bin" / "spark-class"),
            f"org.apache.spark.deploy.{kind}",
            "--host",
            "127.0.0.1",
            *arguments,
        ]
        log = (folder / f"{kind.replace('.', '-')}-{len(cluster.workers)}.log").open("wb")
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)

    folder.mkdir()
    cluster = Cluster(f"spark://127.0.0.1:{port}")
    master = start("master.Master", "--port", str(port), "--webui-port", str(free_port()))
    try:
        _wait_for(port)
        for _ in range(2):
            given = (
                "--cores",
                "1",
                "--memory",
                "800m",
                "--webui-port",
                str(free_port()),
                "--work-dir",
                str(folder / "work"),
            )
            cluster.workers.append(start("worker.Worker", *given, cluster.master))
        yield cluster
    finally:
        for process in [*cluster.workers, master]:
            _kill(process)


def _wait_for(port: int, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"no master on port {port}")
