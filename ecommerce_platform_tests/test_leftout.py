"""What a machine lacks is said once, with its remedy; in CI it is a failure. Dear files of tests begin first."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecommerce_platform_tests import leftout, order
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.leftout import Exports, leave_out


class Reporter:
    """What the summary writes to."""

    def __init__(self, **stats: list[SimpleNamespace]) -> None:
        self.stats = stats
        self.lines: list[str] = []

    def section(self, title: str, sep: str) -> None:
        self.lines.append(title)

    def line(self, text: str) -> None:
        self.lines.append(text)


def skipped(reason: str) -> SimpleNamespace:
    return SimpleNamespace(longrepr=("file.py", 1, f"Skipped: {reason}"))


def test_what_is_not_there_leaves_a_test_out_and_fails_it_where_all_is_required(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ECOMMERCE_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no server → install one"):
        leave_out("no server", "install one")
    monkeypatch.setenv("ECOMMERCE_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="no server → install one"):
        leave_out("no server", "install one")


def test_each_export_is_asked_for_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ECOMMERCE_REQUIRE_ALL", raising=False)
    (tmp_path / "olist").mkdir()
    assert Exports(tmp_path) / "olist" / "orders.csv" == tmp_path / "olist" / "orders.csv"
    with pytest.raises(pytest.skip.Exception, match=r"exports of marketplace are missing → .*ECOMMERCE_TEST_DATA"):
        Exports(tmp_path) / "marketplace"


def test_the_summary_counts_what_was_left_out_by_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ECOMMERCE_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception) as left:
        leave_out("no server", "install one")
    reporter = Reporter(skipped=[skipped(str(left.value)), skipped("not on this system"), skipped(str(left.value))])
    leftout.tell(reporter)
    assert reporter.lines == [
        "2 tests left out on this machine", "    2 no server → install one", "skipped", "    1 not on this system",
    ]  # fmt: skip


def test_a_run_that_leaves_nothing_out_says_nothing():
    reporter = Reporter(passed=[SimpleNamespace()])
    leftout.tell(reporter)
    assert reporter.lines == []


def test_dear_files_begin_first_and_stay_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record = tmp_path / "seconds.json"
    record.write_text(json.dumps({"dear.py": 100, "middling.py": 10}))
    monkeypatch.setattr(order, "RECORD", record)
    names = ["new.py::a", "middling.py::a", *(f"many.py::{n}" for n in range(100)), "dear.py::b", "dear.py::a"]
    items = [SimpleNamespace(nodeid=f"ecommerce_platform_tests/{name}") for name in names]
    order.dear_first(items)
    files = list(dict.fromkeys(item.nodeid.partition("/")[2].partition("::")[0] for item in items))
    assert files == ["dear.py", "many.py", "middling.py", "new.py"]
    assert [item.nodeid[-3:] for item in items[:2]] == ["::b", "::a"]


def test_what_files_take_is_recorded_with_their_fixtures_and_what_did_not_run_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(order, "RECORD", tmp_path / "seconds.json")
    order.RECORD.write_text('{"c.py": 9, "a.py": 7, "b.py": 5}')

    def report(name: str, seconds: float) -> SimpleNamespace:
        return SimpleNamespace(nodeid=f"ecommerce_platform_tests/{name}", duration=seconds)

    stats = {"": [report("a.py::x", 30.0), report("b.py::x", 1.0)], "passed": [report("a.py::x", 12.4)]}
    order.record(Reporter(**stats, warnings=[SimpleNamespace()]))
    assert json.loads(order.RECORD.read_text()) == {"a.py": 42, "c.py": 9}


def test_the_record_names_files_that_there_are():
    names = json.loads(order.RECORD.read_text())
    assert [name for name in names if not (ROOT / "ecommerce_platform_tests" / name).is_file()] == []
