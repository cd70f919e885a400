"""A history that an earlier version has written becomes small, and says what it said."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from shutil import copytree
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.orchestration import compaction
from ecommerce_platform.orchestration.compaction import compact, lean_text
from ecommerce_platform_tests.automation.test_bookkeeping import PLANNING, on_the_page
from ecommerce_platform_tests.automation.test_event_log import DAYS, KEY, OURS, definitions, opened, run_jobs

RANGE = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-07"}


@pytest.fixture(scope="module")
def old_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As earlier versions left it: rows per check and day, everything twice, a failed range, a run that goes on."""
    home = tmp_path_factory.mktemp("old") / "home"
    with opened(home, "") as own:
        run_jobs(own)
        job = definitions().resolve_job_def("load")
        failed = own.create_run_for_job(job, tags=RANGE, status=dg.DagsterRunStatus.STARTED)
        own.report_run_failed(failed)
        goes_on = RANGE | {"dagster/asset_partition_range_end": "2024-01-01"}
        own.create_run_for_job(job, tags=goes_on, status=dg.DagsterRunStatus.STARTED)
    return home


@pytest.fixture
def home(old_home: Path, tmp_path: Path) -> Path:
    return Path(copytree(old_home, tmp_path / "home"))


def squares(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    found = instance.get_status_by_partition(KEY, [f"2024-01-0{n}" for n in range(1, 8)], DAYS) or {}
    days: dict[str, set[str]] = {}
    for day, status in found.items():
        days.setdefault(status.value if status else "none", set()).add(day)
    return days


def rows_of(made: dg.AssetMaterialization) -> dict[str, Any]:
    return {name: value for name, value in made.metadata.items() if name.startswith("rows_")}


def said(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the pages are made of: squares, the newest text and tags, verdicts."""
    days = dg.AssetKey(["gold", "days"])
    newest = [instance.fetch_materializations(key, limit=1).records[0] for key in (KEY, days)]
    log = instance.event_log_storage
    of_days = instance.fetch_materializations(KEY, limit=100).records
    checks = log.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(KEY, "contract")])
    return {
        "squares": squares(instance),
        "newest": [(r.storage_id, r.run_id, r.asset_materialization) for r in newest],
        "numbers": {r.partition_key: rows_of(r.asset_materialization) for r in reversed(of_days)},
        "verdicts": {k.name: (r.status, r.run_id) for k, r in checks.items() if r.status.value != "PLANNED"},
        "runs": [r.dagster_run.run_id for r in instance.get_run_records()],
    }


def rows(home: Path, name: str = "index") -> Counter[str]:
    with closing(sqlite3.connect(home / f"history/runs/{name}.db")) as con:
        counted = Counter(dict(con.execute("select dagster_event_type, count(*) from event_logs group by 1")))
        counted["check rows"] = con.execute("select count(*) from asset_check_executions").fetchone()[0]
        counted["tags"] = con.execute("select count(*) from asset_event_tags").fetchone()[0]
        assert con.execute("pragma freelist_count").fetchone()[0] == 0
        assert con.execute("pragma integrity_check").fetchone()[0] == "ok"
        return counted


def read(home: Path, yaml: str = "") -> dict[str, Any]:
    with opened(home, yaml) as instance:
        return said(instance)


def test_a_start_makes_an_old_history_small_and_keeps_what_the_pages_say(home: Path) -> None:
    before = read(home)
    assert before["squares"] == {"IN_PROGRESS": {"2024-01-01"}, "FAILED": {f"2024-01-0{n}" for n in range(2, 8)}}
    assert rows(home)["check rows"] > 25
    after = read(home, PLANNING + OURS)
    assert after == before
    left = rows(home)
    assert left["ASSET_MATERIALIZATION"] == 4 + 1  # a day's newest, and the table without days
    assert (
        left["ASSET_MATERIALIZATION_PLANNED"] == 7 + 1 + 1
    )  # of the failed run, of the one that goes on, without days
    assert left["ASSET_CHECK_EVALUATION_PLANNED"] == 2  # of the run that goes on
    assert left["check rows"] == 2 + 2  # what was asked, and of the run that goes on
    assert left["tags"] == 2  # the data version of what is newest
    for shard in (home / "history/runs").glob("*-*.db"):
        assert rows(home, shard.stem)["ASSET_MATERIALIZATION"] <= 1
    with opened(home, PLANNING + OURS) as instance:
        run_jobs(instance)
        assert squares(instance)["MATERIALIZED"] == {f"2024-01-0{n}" for n in range(2, 6)}


def test_a_verdict_that_a_plan_had_hidden_is_on_the_page_again(home: Path) -> None:
    """The newest run has planned `whole` and not asked it; `contract` it has asked."""
    with opened(home, "") as own:
        asked = {"asset_key": KEY, "check_name": "whole", "passed": True, "metadata": {}}
        own.report_runless_asset_event(dg.AssetCheckEvaluation(**asked))
        definitions().resolve_job_def("load").execute_in_process(instance=own, tags=RANGE)
        assert on_the_page(own, KEY, "whole") == "SKIPPED"
    with opened(home, PLANNING + OURS) as instance:
        assert on_the_page(instance, KEY, "whole") == "SUCCEEDED"
        assert on_the_page(instance, KEY, "contract") == "FAILED"


def test_the_second_start_looks_at_a_number_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(home / "history/runs")
    monkeypatch.setattr(compaction, "_compact_index", lambda *_: pytest.fail("looked again"))
    compact(home / "history/runs")
    compact(home / "not/there")


def test_a_new_history_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_compact_index", lambda *_: pytest.fail("looked"))
    with opened(tmp_path / "home", PLANNING + OURS) as instance:
        run_jobs(instance)
    with opened(tmp_path / "home", PLANNING + OURS) as instance:
        assert len(instance.get_run_records()) == 3


def test_made_lean_twice_is_made_lean_once(home: Path) -> None:
    with closing(sqlite3.connect(home / "history/runs/index.db")) as con:
        found = con.execute(
            "select event from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchall()
    for (text,) in found:
        assert lean_text(lean_text(text)) == lean_text(text)
        assert len(lean_text(text)) < len(text)


KILLED = """
import sys, time
from pathlib import Path
from ecommerce_platform.orchestration import compaction
steps, at = 0, int(sys.argv[2])
def stop(*_):
    global steps
    steps += 1
    if steps > at:
        print("here", flush=True)
        time.sleep(60)
real = compaction._open
def traced(path):
    con = real(path)
    con.set_trace_callback(stop)
    return con
compaction._open = traced
compaction.compact(Path(sys.argv[1]))
print("done", flush=True)
"""


@pytest.mark.parametrize("at", [4, 9, 14, 19, 24, 29, 40])
def test_a_kill_meanwhile_costs_nothing(home: Path, at: int) -> None:
    """Killed before one statement after the other, then started again."""
    before = read(home)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(home / "history/runs"), str(at)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline().strip() == "here"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read(home) == before, "as it is found after the kill"
    assert read(home, PLANNING + OURS) == before, "and after the start that goes on"
    assert rows(home)["ASSET_MATERIALIZATION"] == 5
    with closing(sqlite3.connect(home / "history/runs/index.db")) as con:
        assert con.execute("pragma user_version").fetchone()[0] == 1


def test_two_starts_at_once_do_it_once(home: Path) -> None:
    command = [sys.executable, "-c", "import sys; from pathlib import Path; from ecommerce_platform.orchestration.compaction "
               "import compact; compact(Path(sys.argv[1]))", str(home / "history/runs")]  # fmt: skip
    before, started = read(home), [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    assert read(home, PLANNING + OURS) == before
