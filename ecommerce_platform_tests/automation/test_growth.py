"""How much a year of daily loads adds to DAGSTER_HOME once old runs are forgotten."""

# No `from __future__ import annotations`: Dagster looks at the annotations of what it decorates.

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from ecommerce_platform.orchestration.assets.declare import Outcome, Step, check_result, table_asset
from ecommerce_platform.orchestration.partitions import range_tags
from ecommerce_platform.orchestration.resources import WarehouseResource
from ecommerce_platform.orchestration.retention import prune_runs
from ecommerce_platform.warehouse.contract_checks import CheckResult, Rule
from ecommerce_platform.warehouse.write import Written
from ecommerce_platform_tests.automation.harness import open_home

#: 50 MB a year at 56 tables of days.
BYTES_PER_TABLE_AND_DAY = 50e6 / 56 / 365
FIRST = date(2024, 1, 1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def tables(count: int) -> dg.Definitions:
    """Tables of days that say as much of themselves as the real ones: text, numbers of the day, three checks."""

    def work(step: Step) -> Outcome:
        key, days = step.context.asset_key, step.days
        rules = tuple(Rule(f"rule {n}", 0, ()) for n in range(12))
        checks = [check_result(CheckResult(f"check_{n}", "block", "said", rules, 100), key) for n in range(3)]
        # About a third of the tables are bronze or entities, which count what each day brought.
        counted = dict.fromkeys(("rows_landed", "rows_loaded", "rows_rejected", "rows_changed"), 7)
        numbers = dict.fromkeys(days, counted) if keys.index(key) % 3 == 0 else {}
        return Outcome(Written(7, 1, 2, 3, ()), {"preview": dg.MetadataValue.md("| x |" * 400)}, numbers, checks)

    every = dg.DailyPartitionsDefinition(FIRST.isoformat(), end_date="2027-01-01")
    keys = [dg.AssetKey(["gold", f"table_{n}"]) for n in range(count)]
    return dg.Definitions(
        assets=[
            table_asset(
                key,
                work,
                checks=[dg.AssetCheckSpec(f"check_{n}", asset=key) for n in range(3)],
                partitions=every,
                deps=keys[max(0, number - 4) : number],
            )
            for number, key in enumerate(keys)
        ],
        resources={"warehouse": WarehouseResource(database="nowhere", source="shop", connection_config={})},
        executor=dg.in_process_executor,
    )


def size(home: Path) -> int:
    """Bytes of a home that nobody has open, without the room that is given back now and then."""
    with closing(sqlite3.connect(home / "history/runs/index.db")) as con:
        con.execute("vacuum")
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


def load_daily(home: Path, count: int, days: range, keep: int) -> int:
    """Bytes of DAGSTER_HOME after these days; runs are forgotten when there are `keep` newer ones."""
    job = tables(count).resolve_implicit_global_asset_job_def()
    ends: list[datetime] = []
    with open_home(home) as instance:
        for day in (FIRST + timedelta(days=number) for number in days):
            assert job.execute_in_process(instance=instance, tags=range_tags(day, day), run_config=QUIET).success
            ends.append(datetime.now(UTC))
            if len(ends) > keep:
                prune_runs(instance, now=ends[-keep - 1] + timedelta(days=30))
    return size(home)


def test_daily_loads_add_less_than_fifty_megabytes_a_year(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = load_daily(home, 6, range(8), keep=3)
    after = load_daily(home, 6, range(8, 24), keep=3)
    assert (after - before) / 16 / 6 < BYTES_PER_TABLE_AND_DAY
    assert len(list((home / "history/runs").glob("*-*.db"))) == 3
    assert len(list((home / "storage").iterdir())) == 3


if __name__ == "__main__":  # python -m …test_growth HOME TABLES DAYS KEEP
    folder, (some, of_days, last) = Path(sys.argv[1]), map(int, sys.argv[2:5])
    start = load_daily(folder, some, range(2 * last), last)
    end = load_daily(folder, some, range(2 * last, of_days), last)
    print(f"{start / 1e6:.1f} → {end / 1e6:.1f} MB: {(end - start) / (of_days - 2 * last) * 365 / 1e6:.1f} MB a year")
