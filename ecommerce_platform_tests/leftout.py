"""Tests that need what this machine does not have: left out, named once at the end; in CI they fail.

Only for what a machine with Python and make may lack: real exports, database servers, programs of other languages. A test
that cannot run for any other reason is not left out.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

_MARK = "left out on this machine: "


def leave_out(what: str, remedy: str) -> NoReturn:
    """Ends the test, or all tests of a fixture, because `what` is not there; `remedy` is what would let them run."""
    if os.environ.get("ECOMMERCE_REQUIRE_ALL"):
        pytest.fail(f"ECOMMERCE_REQUIRE_ALL is set, and {what} → {remedy}", pytrace=False)
    pytest.skip(f"{_MARK}{what} → {remedy}")


def tell(reporter: pytest.TerminalReporter) -> None:
    """The summary's section: how many tests were left out for want of what, and what else was skipped."""
    reasons = Counter(
        str(r.longrepr[2] if isinstance(r.longrepr, tuple) else r.longrepr).removeprefix("Skipped: ")
        for r in reporter.stats.get("skipped", [])
    )
    here = {reason.removeprefix(_MARK): n for reason, n in reasons.items() if reason.startswith(_MARK)}
    others = {reason: n for reason, n in reasons.items() if not reason.startswith(_MARK)}
    if here:
        reporter.section(f"{sum(here.values())} tests left out on this machine", sep="=")
        for reason, count in sorted(here.items(), key=lambda item: -item[1]):
            reporter.line(f"{count:5} {reason}")
    if others:
        reporter.section("skipped", sep="=")
        for reason, count in sorted(others.items()):
            reporter.line(f"{count:5} {reason}")


class Exports(type(Path())):  # the class that Path makes on this system
    """The folder of real exports: a test that takes one of them (`exports / "olist"`) is left out when it is not there."""

    def __truediv__(self, name: object) -> Path:
        export = Path(self).joinpath(str(name))
        if not export.is_dir():
            leave_out(
                f"the real exports of {name} are missing",
                f"put them in {export}, or set ECOMMERCE_TEST_DATA to the folder that holds {name}/",
            )
        return export
