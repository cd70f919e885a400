"""`make bench`: the platform beside the bare engine and pandas, on the same drops, as ratios.

Every measurement is a process of its own (wall time and peak memory from the operating system), the ways take turns,
and medians are quoted. Writes benchmarks/results/build.md and build.png.
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

from benchmarks import definitions

RESULTS = Path(__file__).parent / "results"
SELECT = "group:bronze or group:silver or group:gold"


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


def platform_build(data: Path, ecommerce: list[str]) -> dict:
    for name in ("warehouse.duckdb", "warehouse.duckdb.wal"):
        (data / name).unlink(missing_ok=True)
    shutil.rmtree(data / "dagster_home", ignore_errors=True)
    subprocess.run([*ecommerce, "setup"], env=environment(data), check=True, capture_output=True)
    found = measure([*ecommerce, "build", "--select", SELECT], environment(data))
    found["tables"], found["inside"] = _built(found["out"])
    return found


def _built(out: str) -> tuple[int, float]:
    line = next(line for line in out.splitlines() if " tables built in " in line)
    words = line.split()
    return int(words[0]), float(words[4])


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"
    )
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--orders", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--dirty", type=float, default=0.0)
    arguments.add_argument("--no-pandas", action="store_true")
    arguments.add_argument("--work", type=Path, default=None, help="folder for the drops; default: a temporary one")
    chosen = arguments.parse_args()
    python = [sys.executable]
    ecommerce = [str(Path(sys.executable).with_name("ecommerce"))]
    rows = []
    limit = os.environ.get("ECOMMERCE_MEMORY_LIMIT", "2GB")
    for orders in chosen.orders:
        work = Path(tempfile.mkdtemp(prefix="bench-", dir=chosen.work))
        try:
            data = work / "data"
            print(f"generating {orders:,} orders …", flush=True)
            subprocess.run(
                [*ecommerce, "generate", "--orders", str(orders), "--dirty", str(chosen.dirty)],
                env=environment(data), check=True, capture_output=True,
            )  # fmt: skip
            ours, bare, usual = [], [], []
            for number in range(chosen.runs):
                ours.append(platform_build(data, ecommerce))
                bare.append(measure([*python, "-m", "benchmarks.bare", str(data)], environment(data)))
                if not chosen.no_pandas and number == 0:
                    usual.append(measure([*python, "-m", "benchmarks.pandas_way", str(data)], environment(data)))
                print(
                    f"  run {number + 1}: ours {ours[-1]['seconds']:.1f} s, bare {bare[-1]['seconds']:.1f} s",
                    flush=True,
                )
            rows.append(summary(orders, ours, bare, usual))
            print(json.dumps(rows[-1]), flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    report(rows, chosen, limit)


def summary(orders: int, ours: list[dict], bare: list[dict], usual: list[dict]) -> dict:
    script = [json.loads(b["out"].strip().splitlines()[-1]) for b in bare]
    median = statistics.median
    steps = ours[0]["tables"]
    return {
        "orders": orders,
        "steps": steps,
        "ours": median(o["seconds"] for o in ours),
        "ours_inside": median(o["inside"] for o in ours),
        "ours_mib": max(o["mib"] for o in ours),
        "bare": median(b["seconds"] for b in bare),
        "bare_inside": median(s["total"] for s in script),
        "bare_mib": max(b["mib"] for b in bare),
        "ratio": median(o["seconds"] / b["seconds"] for o, b in zip(ours, bare, strict=True)),
        "ratio_inside": median(o["inside"] / s["total"] for o, s in zip(ours, script, strict=True)),
        "ms_a_step": median((o["inside"] - s["total"]) / steps * 1000 for o, s in zip(ours, script, strict=True)),
        "pandas": usual[0]["seconds"] if usual else None,
        "pandas_mib": usual[0]["mib"] if usual else None,
    }


def report(rows: list[dict], chosen: argparse.Namespace, limit: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    lines = [
        "# Building everything: the platform beside the bare engine",
        "",
        f"`make bench` on {time.strftime('%Y-%m-%d')}: {machine()}. Drops over 730 days, dirty share {chosen.dirty}, memory limit",
        f"{limit}, medians of {chosen.runs} runs in turn. *Whole process* includes starting Python and loading Dagster; *inside* is",
        "the run itself. The bare script runs the same SELECTs without checks, rejects, ledgers or Dagster; pandas computes",
        "only the KPI summary and months.",
        "",
        "| orders | steps | ours, whole (s) | bare, whole (s) | ratio | ours, inside (s) | bare, inside (s) | ratio | ms a step above bare "
        "| ours, peak (MiB) | bare, peak | pandas (s) | pandas, peak |",
        "| ---: " * 13 + "|",
    ]
    for r in rows:
        pandas = (f"{r['pandas']:.1f}", f"{r['pandas_mib']:.0f}") if r["pandas"] else ("", "")
        lines.append(
            f"| {r['orders']:,} | {r['steps']} | {r['ours']:.1f} | {r['bare']:.1f} | {r['ratio']:.2f} | {r['ours_inside']:.1f} | "
            f"{r['bare_inside']:.1f} | {r['ratio_inside']:.2f} | {r['ms_a_step']:.0f} | {r['ours_mib']:.0f} | {r['bare_mib']:.0f} | "
            f"{pandas[0]} | {pandas[1]} |"
        )
    if len(rows) > 1:
        lines += [
            "",
            f"Growth from {rows[-2]['orders']:,} to {rows[-1]['orders']:,} orders: {rows[-1]['ours'] / rows[-2]['ours']:.2f} ×.",
        ]
    found = definitions.measure("synthetic", 5)
    lines += [
        "",
        f"Loading the definitions ({found['assets']} assets): {found['definitions']:.2f} s above `import dagster` "
        f"({found['import_dagster']:.2f} s).",
    ]
    name = "build" if not chosen.dirty else "build-dirty"
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    plot(rows, RESULTS / f"{name}.png")
    print("\n".join(lines))


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


if __name__ == "__main__":
    main()
