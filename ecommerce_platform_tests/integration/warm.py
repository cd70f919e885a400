"""A process that has everything imported and forks one worker per task, so that a task is at work at once.

The worker does what `ecommerce build` and `ecommerce publish` do and writes down where it is, line by line: what it
was doing when it was killed can be read afterwards. Started as a module; `Warm` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Without models: they are trained anew for seconds, by libraries whose threads do not survive a fork.
TABLES = 'group:"bronze" or group:"silver" or key:"gold/*"'


class Warm:
    """The test's end: starts workers one at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        self._read()

    def start(self, what: str, folder: Path, phases: Path) -> int:
        """Starts a worker on the platform instance in `folder`; its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, str(folder), str(phases)]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """The worker's exit code; that of a killed one is negative."""
        return self._read()

    def run(self, what: str, folder: Path, phases: Path) -> None:
        """A worker that is left alone."""
        self.start(what, folder, phases)
        code = self.wait()
        assert code == 0, phases.with_suffix(".log").read_text()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)

    def _read(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm process has ended"
        return int(line)


def _serve() -> None:
    import dagster_duckdb  # noqa: F401
    import duckdb  # noqa: F401

    from ecommerce_platform.orchestration.assembly import build_definitions
    from ecommerce_platform.settings import read_settings

    build_definitions(read_settings())
    print(0, flush=True)
    for line in sys.stdin:
        what, folder, phases = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _work(what, Path(folder), Path(phases))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _work(what: str, folder: Path, phases: Path) -> None:
    """Never returns: a fork of a test must not go on as one."""
    code = 1
    out = os.open(phases.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        handle = os.open(phases, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

        def note(text: str) -> None:
            os.write(handle, f"{time.time():.4f} {text}\n".encode())

        os.environ["ECOMMERCE_DATA_DIR"] = str(folder / "data")
        os.environ["DAGSTER_HOME"] = str(folder / "dagster_home")
        os.environ["ECOMMERCE_THREADS"] = "2"
        {"build": _build, "publish": _publish}[what](note)
        note("end")
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _build(note) -> None:
    from ecommerce_platform.operations.builds import run_build
    from ecommerce_platform.settings import read_settings

    result = run_build(read_settings(), TABLES, lambda table, what, done, total: note(f"{table} {what}"))
    assert not result.failed, result.failed


def _publish(note) -> None:
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.publishing import publish as publishing
    from ecommerce_platform.settings import read_settings

    settings, switch = read_settings(), publishing.switch

    def watched(published: Path, name: str) -> None:
        note("switch start")
        switch(published, name)
        note("switch done")

    publishing.switch = watched
    note("publish start")
    publishing.publish(
        open_warehouse(settings).connect, read_catalog(), settings.published, settings.source_name,
        publishing.PublishOptions(
            keep=settings.keep_snapshots, progress=lambda table, done, total: note(f"publish {table}"),
            # A build that was killed leaves tables lagging; what is published then is told in the manifest.
            force=True,
        ),
    )  # fmt: skip


if __name__ == "__main__":
    _serve()
