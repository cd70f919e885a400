"""What all tests share: the folder of real exports, and a platform instance driven as a user drives it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from ecommerce_platform_tests import commands, order, quick
from ecommerce_platform_tests.leftout import Exports, tell
from ecommerce_platform_tests.objectstores import bucket, impatient, store_servers  # noqa: F401  fixtures

ROOT = Path(__file__).resolve().parent.parent
_UNTIL = float(os.environ.get("ECOMMERCE_TEST_UNTIL") or 0)
_TIME_IS_UP = "the time of this run was up: other commits begin elsewhere, `make test-long` runs all"


def pytest_configure() -> None:
    """What makes all tests quicker."""
    quick.write_to_memory()
    quick.read_migrations_once()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In CI nothing may be skipped silently."""
    if report.skipped and os.environ.get("ECOMMERCE_REQUIRE_ALL") and _TIME_IS_UP not in str(report.longrepr):
        raise pytest.UsageError(f"{report.nodeid} was skipped, but ECOMMERCE_REQUIRE_ALL is set")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The dear files first. What an hour of CI takes: cases of long tests, and an order in which each commit begins elsewhere.

    With ECOMMERCE_TEST_EVERY=3, of the cases of each long test every third is run. With ECOMMERCE_TEST_UNTIL the files
    of long tests are shuffled by the commit, so that what is left when time is up is not the same every time.
    """
    every = int(os.environ.get("ECOMMERCE_TEST_EVERY", "1"))
    seen: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        number = seen[name]
        seen[name] += 1
        (left if item.get_closest_marker("long") and number % every else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept
    order.dear_first(items)
    if _UNTIL:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).stdout
        items.sort(key=lambda item: sha256(commit + item.nodeid.partition("::")[0].encode()).digest())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Past ECOMMERCE_TEST_UNTIL (seconds since 1970) no further long test is begun; the summary counts them by file."""
    if _UNTIL and time.time() > _UNTIL and item.get_closest_marker("long"):
        pytest.skip(f"{item.location[0]}: {_TIME_IS_UP}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many schedules of loads were tried, by kind of shop; what was left out, and why."""
    passed = terminalreporter.stats.get("passed", [])
    kinds = Counter(kind for report in passed for name, kind in report.user_properties if name == "converged")
    if kinds:
        terminalreporter.line("schedules that converged: " + ", ".join(f"{n} of {kind}" for kind, n in kinds.items()))
    tell(terminalreporter)
    if os.environ.get("ECOMMERCE_TEST_RECORD"):
        order.record(terminalreporter)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real exports; a test that asks it for one that is not there is left out (in CI it fails)."""
    return Exports(Path(os.environ.get("ECOMMERCE_TEST_DATA") or ROOT.parent / "shared" / "data").resolve())


@dataclass
class Shop:
    """One platform instance in a folder of its own, run by commands; `installed` takes the one that users call."""

    folder: Path
    source: str = "synthetic"
    installed: bool = False

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ECOMMERCE_", "DAGSTER_"))}
        return {
            **clean,
            "ECOMMERCE_SOURCE": self.source,
            "ECOMMERCE_DATA_DIR": str(self.data),
            "DAGSTER_HOME": str(self.folder / "dagster_home"),
            "COLUMNS": "200",
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {**self.environment, **environment}
        if not self.installed and "PYTHONPATH" not in environment:
            return commands.run(list(arguments), variables, self.folder)
        command = [str(Path(sys.executable).with_name("ecommerce")), *arguments]
        return subprocess.run(
            command,
            env=variables,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=600,
        )

    def ok(self, *arguments: str, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, (
            f"ecommerce {' '.join(arguments)} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def query(self, sql: str) -> list[tuple]:
        import duckdb

        with duckdb.connect(str(self.data / "warehouse.duckdb"), read_only=True) as con:
            return con.execute(sql).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)
