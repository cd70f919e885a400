"""What a newcomer waits for, and what Dagster's bookkeeping costs: `python -m benchmarks.first_minutes [--orders N] [--runs N]`.

Each run begins with drops and nothing else: a build, another with nothing new, status, publish, and two further days. Every
step is a process of its own; medians of the runs are written to benchmarks/results/first-minutes.md. Bookkeeping is what
a process takes beyond its tables; per asset and day only what it takes once Python, Dagster and definitions are loaded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.__main__ import RESULTS, environment, machine, measure, platform_build, table
from benchmarks.build import partitioned
from ecommerce_platform.operations.as_it_is import NOTE
from ecommerce_platform.settings import read_settings

#: The last days of the drops, which come one after the other.
FURTHER = 2
ECOMMERCE = str(Path(sys.executable).with_name("ecommerce"))


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def again(data: Path) -> dict:
    """What is pending, by `benchmarks.build`."""
    found = measure([sys.executable, "-m", "benchmarks.build", str(data)], environment(data))
    return {**found, **json.loads(found["out"].strip().splitlines()[-1])}


def command(data: Path, *words: str) -> float:
    """Seconds of one command."""
    return float(measure([ECOMMERCE, *words], environment(data))["seconds"])


def bookkeeping(build: dict, whole: bool = False) -> float:
    """Seconds of a build beyond its tables: of the run, or of the process."""
    return float(build["seconds"] if whole else build["run"]) - sum(build["parts"].values())


def follow(data: Path, held: list[Path]) -> dict[str, float]:
    """One run over a shop's drops: what is measured → its figure."""
    home = data / "dagster_home"
    built = platform_build(data)
    assets = partitioned(read_settings(data_dir=data, source="synthetic"))
    cells = assets * len(list((data / "raw").iterdir()))
    found = {
        "a build from nothing (s)": built["seconds"],
        "its tables (s)": sum(built["parts"].values()),
        "its bookkeeping (s)": bookkeeping(built, whole=True),
        "bookkeeping per partitioned asset and day (ms, without starting)": 1000 * bookkeeping(built) / cells,
        "DAGSTER_HOME (MB)": size(home) / 1e6,
        "DAGSTER_HOME per partitioned asset and day (bytes)": size(home) / cells,
        "a build with nothing new (s)": command(data, "build"),
    }
    (home / NOTE).unlink()  # else no table is looked at
    nothing = again(data)
    found["a build that looks at every table and finds nothing new (s)"] = nothing["seconds"]
    found["a step with nothing to do (ms, median)"] = 1000 * statistics.median(nothing["tables"].values())
    found["status (s)"] = command(data, "status")
    found["publish (s)"] = command(data, "publish")
    shutil.copytree(held[0], data / "raw" / held[0].name)
    before = size(home)
    found["one further day (s)"] = command(data, "build")
    found["what it adds to DAGSTER_HOME (kB)"] = (size(home) - before) / 1e3
    shutil.copytree(held[1], data / "raw" / held[1].name)
    further = again(data)
    found["bookkeeping of a further day (s, without starting)"] = bookkeeping(further)
    for day in held:
        shutil.rmtree(data / "raw" / day.name)
    return found


def main(words: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--orders", type=int, default=100_000)
    arguments.add_argument("--days", type=int, default=730)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--work", type=Path, default=None, help="folder for the drops; default: a temporary one")
    arguments.add_argument("--results", type=Path, default=RESULTS, help="where the report is written")
    chosen = arguments.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=chosen.work) as work:
        data = Path(work) / "data"
        days = str(chosen.days + FURTHER)
        measure([ECOMMERCE, "generate", "--orders", str(chosen.orders), "--days", days], environment(data))
        held = []
        for day in sorted((data / "raw").iterdir())[-FURTHER:]:
            held.append(Path(work) / day.name)
            day.rename(held[-1])
        runs = []
        for number in range(chosen.runs):
            runs.append(follow(data, held))
            print(f"run {number + 1}: {json.dumps({k: round(v, 2) for k, v in runs[-1].items()})}", flush=True)
    report(runs, chosen)


def report(runs: list[dict[str, float]], chosen: argparse.Namespace) -> None:
    """Writes and prints the medians."""
    figures = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    lines = [
        "# The first minutes",
        "",
        f"`python -m benchmarks.first_minutes` on {time.strftime('%Y-%m-%d')}: {machine()}. {chosen.orders:,} orders over",
        f"{chosen.days} days, medians of {chosen.runs} runs.",
        "",
        *table(["what", "figure"], [[name, f"{figure:,.2f}"] for name, figure in figures.items()]),
    ]
    chosen.results.mkdir(exist_ok=True)
    (chosen.results / "first-minutes.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
