"""`make bench`: the platform's whole build beside the bare engine and pandas, on the same drops, as ratios.

Every measurement is a process of its own (wall time and peak memory from the operating system), the ways take turns,
and medians are quoted. The tables of both ways are compared first: figures of tables that differ are none. Writes
benchmarks/results/build.md and build.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import bare, definitions
from benchmarks.build import APART, COMPARED, compared
from benchmarks.equal import differences

RESULTS = Path(__file__).parent / "results"


def measure(command: list[str], environment: dict[str, str]) -> dict:
    """Wall seconds, peak resident memory (MiB) and the last line of output of one process."""
    with tempfile.TemporaryFile("w+") as out:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        out.seek(0)
        text = out.read()
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return {"seconds": seconds, "mib": usage.ru_maxrss / 1024, "cpu": usage.ru_utime + usage.ru_stime, "out": text}


def environment(data: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("ECOMMERCE_", "DAGSTER_"))},
        **{k: v for k, v in os.environ.items() if k in ("ECOMMERCE_MEMORY_LIMIT", "ECOMMERCE_THREADS")},
        "ECOMMERCE_DATA_DIR": str(data),
        "DAGSTER_HOME": str(data / "dagster_home"),
    }


def platform_build(data: Path) -> dict:
    """One build from nothing: the process, and what `benchmarks.build` says of it."""
    for name in ("warehouse.duckdb", "warehouse.duckdb.wal"):
        (data / name).unlink(missing_ok=True)
    shutil.rmtree(data / "dagster_home", ignore_errors=True)
    found = measure([sys.executable, "-m", "benchmarks.build", str(data)], environment(data))
    return {**found, **json.loads(found["out"].strip().splitlines()[-1])}


def bare_build(data: Path) -> dict:
    """The same tables by the bare script."""
    found = measure([sys.executable, "-m", "benchmarks.bare", str(data)], environment(data))
    return {**found, "parts": json.loads(found["out"].strip().splitlines()[-1])}


def check_equal(data: Path) -> None:
    """Ends the benchmark if the two ways made different tables."""
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.settings import read_settings

    tables = compared(read_project(read_settings(data_dir=data, source="synthetic")))
    if found := differences(data / "warehouse.duckdb", data / bare.WAREHOUSE, tables):
        sys.exit("\n".join(["the platform and the bare script made different tables:", *found[:20]]))
    print(f"  {len(tables)} tables are equal", flush=True)


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"
    )
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    )


def main(words: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--orders", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    arguments.add_argument("--days", type=int, default=730)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--no-pandas", action="store_true")
    arguments.add_argument("--work", type=Path, default=None, help="folder for the drops; default: a temporary one")
    arguments.add_argument("--results", type=Path, default=RESULTS, help="where the report is written")
    chosen = arguments.parse_args(words)
    ecommerce = str(Path(sys.executable).with_name("ecommerce"))
    rows = []
    for orders in chosen.orders:
        work = Path(tempfile.mkdtemp(prefix="bench-", dir=chosen.work))
        try:
            data = work / "data"
            print(f"generating {orders:,} orders …", flush=True)
            # Clean: what becomes of faulty records is nothing that the script could do as well.
            measure(
                [ecommerce, "generate", "--orders", str(orders), "--days", str(chosen.days), "--dirty", "0"],
                environment(data),
            )
            rows.append(compare(data, orders, chosen.runs, not chosen.no_pandas))
            print(json.dumps(rows[-1]), flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    report(rows, chosen)


def compare(data: Path, orders: int, runs: int, pandas: bool) -> dict:
    """The ways in turn on one shop's drops; medians."""
    ours, script, usual = [], [], []
    for number in range(runs):
        ours.append(platform_build(data))
        script.append(bare_build(data))
        if number == 0:
            check_equal(data)
            if pandas:
                usual.append(measure([sys.executable, "-m", "benchmarks.pandas_way", str(data)], environment(data)))
        print(f"  run {number + 1}: ours {ours[-1]['seconds']:.1f} s, bare {script[-1]['seconds']:.1f} s", flush=True)
    return summary(orders, ours, script, usual)


def summary(orders: int, ours: list[dict], script: list[dict], usual: list[dict]) -> dict:
    """Medians over the runs. `work` is what both ways do, `bookkeeping` what the process takes beyond all tables."""
    median = statistics.median
    steps = ours[0]["steps"]
    work = [sum(o["parts"][p] for p in COMPARED) for o in ours]
    totals = [s["parts"]["total"] for s in script]
    return {
        "orders": orders,
        "steps": steps,
        "parts": {p: median(o["parts"][p] for o in ours) for p in (*COMPARED, *APART)},
        "bare_parts": {p: median(s["parts"][p] for s in script) for p in COMPARED},
        "bookkeeping": median(o["seconds"] - sum(o["parts"].values()) for o in ours),
        "work": median(work),
        "bare_work": median(totals),
        "ratio": median(w / t for w, t in zip(work, totals, strict=True)),
        "ms_a_step": median((w - t) / steps * 1000 for w, t in zip(work, totals, strict=True)),
        "ours": median(o["seconds"] for o in ours),
        "ours_cpu": median(o["cpu"] for o in ours),
        "ours_mib": max(o["mib"] for o in ours),
        "bare": median(s["seconds"] for s in script),
        "bare_cpu": median(s["cpu"] for s in script),
        "bare_mib": max(s["mib"] for s in script),
        "pandas": usual[0]["seconds"] if usual else None,
        "pandas_mib": usual[0]["mib"] if usual else None,
    }


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table of figures."""
    return [f"| {' | '.join(columns)} |", "| " + "---: | " * len(columns), *(f"| {' | '.join(r)} |" for r in rows), ""]


def report(rows: list[dict], chosen: argparse.Namespace) -> None:
    """Writes and prints the tables."""
    limit = os.environ.get("ECOMMERCE_MEMORY_LIMIT", "2GB")
    lines = [
        "# Building everything: the platform beside the bare engine",
        "",
        f"`make bench` on {time.strftime('%Y-%m-%d')}: {machine()}. Drops over {chosen.days} days, clean, memory limit {limit},",
        f"medians of {chosen.runs} runs in turn, in seconds. The bare script loads the same files, maps, keeps history and runs the same",
        "SELECTs in DuckDB, without checks, rejects, ledgers, transactions or Dagster. Its tables were the same.",
        "",
        "## What both do: platform ÷ bare script",
        "",
        *table(
            ["orders", *COMPARED, "together", "ratio", "ms a step above bare"],
            [
                [
                    f"{r['orders']:,}",
                    *(f"{r['parts'][p]:.1f} ÷ {r['bare_parts'][p]:.1f}" for p in COMPARED),
                    f"{r['work']:.1f} ÷ {r['bare_work']:.1f}", f"**{r['ratio']:.2f}**", f"{r['ms_a_step']:.0f}",
                ]
                for r in rows
            ],
        ),
        "## What only the platform does",
        "",
        "*Bookkeeping* is what the process takes beyond all tables: starting Python and Dagster, definitions, planning, recording.",
        "",
        *table(
            ["orders", *APART, "bookkeeping"],
            [[f"{r['orders']:,}", *(f"{r['parts'][p]:.1f}" for p in APART), f"{r['bookkeeping']:.1f}"] for r in rows],
        ),
        "## Whole processes",
        "",
        "Pandas computes only the KPI summary and months.",
        "",
        *table(
            ["orders", "steps", "ours", "bare", "ratio", "processor: ours", "bare", "ratio", "peak MiB: ours", "bare", "pandas", "its peak"],
            [_whole(r) for r in rows],
        ),
    ]  # fmt: skip
    if len(rows) > 1:
        former, last = rows[-2:]
        growth = (
            f"Growth from {former['orders']:,} to {last['orders']:,} orders: {last['ours'] / former['ours']:.2f} ×."
        )
        lines += [growth, ""]
    found = definitions.measure("synthetic", chosen.runs)
    lines.append(
        f"Loading the definitions ({found['assets']} assets): {found['definitions']:.2f} s above `import dagster` "
        f"({found['import_dagster']:.2f} s)."
    )
    chosen.results.mkdir(exist_ok=True)
    (chosen.results / "build.md").write_text("\n".join(lines) + "\n")
    plot(rows, chosen.results / "build.png")
    print("\n".join(lines))


def _whole(r: dict) -> list[str]:
    return [
        f"{r['orders']:,}", f"{r['steps']}",
        f"{r['ours']:.1f}", f"{r['bare']:.1f}", f"{r['ours'] / r['bare']:.2f}",
        f"{r['ours_cpu']:.1f}", f"{r['bare_cpu']:.1f}", f"{r['ours_cpu'] / r['bare_cpu']:.2f}",
        f"{r['ours_mib']:.0f}", f"{r['bare_mib']:.0f}",
        f"{r['pandas']:.1f}" if r["pandas"] else "", f"{r['pandas_mib']:.0f}" if r["pandas"] else "",
    ]  # fmt: skip


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for key, label in (("ours", "platform"), ("bare", "bare DuckDB script"), ("pandas", "pandas, KPIs only")):
        points = [(r["orders"], r[key]) for r in rows if r[key]]
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="orders", ylabel="seconds, whole process", title="Raw drops to KPIs")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
