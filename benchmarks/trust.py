"""What trusting the tables costs: the contract checks' share of a build, and the business expectations' seconds.

`python -m benchmarks.trust [--orders N] [--data DIR]` writes benchmarks/results/trust.md. One build in a process of its
own: the seconds spent inside the contract checks (columns, keys, references, rules) are counted as they run, the
share is theirs of what the build takes without them. The expectations are asked again in fresh processes, importing Great
Expectations and building Data Docs included; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from functools import wraps
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DAYS, REPEATS = 730, 3


def settings(data: Path) -> Any:
    from ecommerce_platform.settings import read_settings

    return read_settings(source="synthetic", data_dir=data, dagster_home=data / "dagster_home")


def build(data: Path) -> dict[str, Any]:
    """Builds everything; seconds in all, and inside the checks by table and kind."""
    from ecommerce_platform.operations.builds import run_build
    from ecommerce_platform.warehouse import contract_checks

    spent: Counter[tuple[str, str]] = Counter()

    def counted(kind: str, check: Any) -> Any:
        @wraps(check)
        def timed(con: Any, contract: Any, *rest: Any) -> Any:
            started = time.perf_counter()
            try:
                return check(con, contract, *rest)
            finally:
                spent[contract.table, kind] += time.perf_counter() - started

        return timed

    for kind in ("_contract", "_foreign_keys", "_sql_check"):
        setattr(contract_checks, kind, counted(kind, getattr(contract_checks, kind)))
    result = run_build(settings(data))
    if result.failed:
        sys.exit(f"the build failed: {result.failed}")
    return {
        "seconds": result.seconds,
        "checks": sum(spent.values()),
        "tables": len(result.built),
        "most": [(table, kind.strip("_"), seconds) for (table, kind), seconds in spent.most_common(8)],
    }


def expectations(data: Path) -> dict[str, Any]:
    """Asks all rules about a warehouse that is built; the time from before importing anything."""
    started = time.perf_counter()
    from ecommerce_platform.orchestration.assets.expectations import quality_gate
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.orchestration.resources import warehouse_resource

    project = read_project(settings(data))
    judged = quality_gate(project, warehouse_resource(project.settings)).evaluate(again=True)
    verdicts = [verdict for found in judged.values() for verdict in found.verdicts]
    if any(v.outcome == "error" for v in verdicts):
        sys.exit("a rule could not be asked")
    return {"seconds": time.perf_counter() - started, "rules": len(verdicts), "tables": len(judged)}


def child(what: str, data: Path) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ECOMMERCE_", "DAGSTER_"))}
    command = [sys.executable, "-m", "benchmarks.trust", "--only", what, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{what} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Generates, builds, asks and writes the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=5_000_000)
    parser.add_argument("--data", type=Path, required=True, help="an empty folder with room for some 30 GB")
    parser.add_argument("--only", choices=("build", "expectations"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps((build if given.only == "build" else expectations)(given.data)))
        return
    if not (given.data / "raw").is_dir():
        from ecommerce_platform.simulation import generate_shop

        generate_shop(given.data, orders=given.orders, days=DAYS, seed=1, dirty_share=0.002)
    built = child("build", given.data)
    asked = [child("expectations", given.data) for _ in range(REPEATS)]
    seconds = statistics.median(a["seconds"] for a in asked)
    share = built["checks"] / (built["seconds"] - built["checks"])
    lines = [
        "# What trusting the tables costs",
        "",
        f"`python -m benchmarks.trust --orders {given.orders}` on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores "
        f"({platform.machine()}), {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, Python "
        f"{platform.python_version()}. A generated shop of {given.orders:,} orders over {DAYS} days, dirty share 0.002.",
        "",
        "| what | measured | limit |",
        "| --- | ---: | ---: |",
        f"| build of {built['tables']} tables | {built['seconds']:.1f} s | |",
        f"| … of which inside the contract checks | {built['checks']:.1f} s | |",
        f"| the checks add to the build without them | {share:.1%} | 15 % |",
        f"| {asked[0]['rules']} business expectations on {asked[0]['tables']} tables, imports and Data Docs included "
        f"(median of {REPEATS}) | {seconds:.1f} s | 30 s |",
        "",
        "Where the checks take longest:",
        "",
        "| table | kind | seconds |",
        "| --- | --- | ---: |",
        *(f"| {table} | {kind} | {took:.2f} |" for table, kind, took in built["most"]),
        "",
    ]
    (RESULTS / "trust.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
