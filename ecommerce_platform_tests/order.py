"""In which order files of tests begin: the dear ones first, so that no worker is left with one of them at the end.

`seconds.json` has the files that take more than two seconds, as a quiet machine with two cores measured them. A whole
run of `make test test-shops` with ECOMMERCE_TEST_RECORD=1 writes it anew. What it does not know goes by the number of tests.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

RECORD = Path(__file__).with_name("seconds.json")
#: Files that take less are not written down.
_CHEAP = 2
#: What a test of an unknown file is taken to need.
_USUAL = 0.2


def dear_first(items: list[pytest.Item]) -> None:
    """Sorts tests by what their files take, files in one piece and each in its own order."""
    known = {f"{Path(__file__).parent.name}/{name}": s for name, s in json.loads(RECORD.read_text()).items()}
    tests = Counter(_file(item.nodeid) for item in items)
    items.sort(key=lambda item: (-known.get(f := _file(item.nodeid), tests[f] * _USUAL), f))


def record(reporter: pytest.TerminalReporter) -> None:
    """Writes down what each file has taken, fixtures included."""
    taken: defaultdict[str, float] = defaultdict(float)
    for reports in reporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                taken[_file(report.nodeid).partition("/")[2]] += report.duration
    # What this run left to another one, `make test-shops` or `make test`, stays as it was measured.
    known = {name: s for name, s in json.loads(RECORD.read_text()).items() if name not in taken}
    found = {**known, **{name: round(s) for name, s in taken.items() if s >= _CHEAP}}
    dear = dict(sorted(found.items(), key=lambda i: (-i[1], i[0])))
    RECORD.write_text(json.dumps(dear, indent=0) + "\n")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
