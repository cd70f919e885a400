"""A plugin of pytest: notes which test runs which line of the platform, and how long tests take.

Used with `-p ecommerce_platform_tests.mutants.contexts`, also under xdist: each process writes a file of its own into
the folder ECOMMERCE_MUTANTS_MAP. What a fixture runs that several tests share is noted for their whole file, and so are
its seconds, which every run of one of these tests pays. Code that tests run in another process is not seen.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_FOLDER = Path(os.environ["ECOMMERCE_MUTANTS_MAP"])
#: Under this name a test's report carries the seconds of shared fixtures set up for it.
_SHARED = "seconds of shared fixtures"


class _Notes:
    """What is noted during one session."""

    def __init__(self) -> None:
        import coverage

        self.coverage = coverage.Coverage(
            data_file=str(_FOLDER / ".coverage"),
            data_suffix=True,
            source_pkgs=["ecommerce_platform"],
            config_file=False,
        )
        self.seconds: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.now = ""
        #: What is run, and how many shared fixtures are being set up within each other.
        self.item: pytest.Item | None = None
        self.depth = 0

    def switch(self, context: str) -> str:
        """What runs from now on belongs to `context`; what it belonged to before."""
        before, self.now = self.now, context
        self.coverage.switch_context(context)
        return before


_NOTES = _Notes()


def pytest_configure(config: pytest.Config) -> None:
    """Begins before tests are collected."""
    _NOTES.coverage.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What a test runs is its own."""
    _NOTES.switch(item.nodeid)
    _NOTES.item = item
    try:
        return (yield)
    finally:
        _NOTES.switch("")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef, request: pytest.FixtureRequest) -> Iterator[object]:
    """What a shared fixture runs belongs to the file."""
    if fixturedef.scope == "function":
        return (yield)
    before, started = _NOTES.switch(_NOTES.now.partition("::")[0]), time.perf_counter()
    _NOTES.depth += 1
    try:
        return (yield)
    finally:
        _NOTES.switch(before)
        _NOTES.depth -= 1
        if not _NOTES.depth and _NOTES.item:
            _NOTES.item.user_properties.append((_SHARED, time.perf_counter() - started))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keeps seconds and failures."""
    shared = sum(took for name, took in report.user_properties if name == _SHARED) if report.when == "setup" else 0
    _NOTES.seconds[report.nodeid] += report.duration - shared
    _NOTES.seconds[report.nodeid.partition("::")[0]] += shared
    if report.outcome != "passed":
        _NOTES.failed.add(report.nodeid)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Writes everything."""
    _NOTES.coverage.stop()
    _NOTES.coverage.save()
    if not hasattr(config, "workerinput"):
        passed = {test: seconds for test, seconds in _NOTES.seconds.items() if test not in _NOTES.failed}
        (_FOLDER / "seconds.json").write_text(json.dumps(passed))
