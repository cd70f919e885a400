"""What incremental loads cost: a backfill of two years in one run, and one further day on top of it.

`python -m benchmarks.incremental [--small N] [--large N] [--data DIR]` writes benchmarks/results/incremental.md. Data work
is the time from opening the warehouse to the commit with its checks, summed over tables; orchestration is the rest of
the run. Each measurement is a process of its own; the further day is the median of several, each on the same warehouse.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DAYS, START = 730, date(2024, 1, 1)
LAST, FURTHER = START + timedelta(days=DAYS - 1), START + timedelta(days=DAYS)
FACTS = ("gold.fct_order_items", "gold.fct_orders", "gold.fct_payments", "gold.fct_customer_days", "gold.fct_days")
REPEATS = 3


def counted(table: str) -> bool:
    """Bronze, silver, facts and daily KPIs: what the claim about a further day is about."""
    return table.startswith(("bronze.", "silver.")) or table in (*FACTS, "gold.kpi_daily")


def load(data: Path, first: date, last: date, *more: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.load", str(data), first.isoformat(), last.isoformat(), *more]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ECOMMERCE_", "DAGSTER_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    found: dict = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def work(run: dict, only_counted: bool = False) -> float:
    return sum(s for table, s in run["work"].items() if counted(table) or not only_counted)


def fresh(data: Path, base: Path | None = None) -> None:
    for name in ("warehouse.duckdb", "warehouse.duckdb.wal"):
        (data / name).unlink(missing_ok=True)
    if base:
        shutil.copy(base, data / "warehouse.duckdb")
        os.sync()  # else the disk would still be writing the copy while the load is measured
    else:
        shutil.rmtree(data / "dagster_home", ignore_errors=True)


def one_drop(data: Path, target: Path) -> None:
    """The same files as one delivery of the last day: what a single full load reads."""
    folder = target / "raw" / LAST.isoformat()
    folder.mkdir(parents=True)
    for file in sorted((data / "raw").glob("*/*")):
        if file.parent.name <= LAST.isoformat():
            stem, dot, rest = file.name.partition(".")
            os.link(file, folder / f"{stem}-{file.parent.name}{dot}{rest}")


def thinned(drop: Path, target: Path, share: int) -> None:
    """A `share`-th of a drop: of every order and customer either all records or none."""
    import duckdb

    def chosen(text: str) -> bool:
        # The order's number where there is one, else the first that is long enough to be one.
        number = re.search(r"W(\d+)", text) or re.search(r"(\d{6,})", text)
        return number is not None and int(number.group(1)) % share == 0

    kept = ("campaigns", "products", "labels", "postal_codes", "economy", "ad_reports", "stock_counts")
    target.mkdir(parents=True)
    for file in sorted(drop.iterdir()):
        out = target / file.name
        if file.name.startswith(kept):
            shutil.copy(file, out)
        elif file.suffix == ".parquet":
            column = "session" if file.name.startswith("web_events") else "order_no"
            where = f"cast(regexp_extract({column}, '\\d+') as bigint) % {share} = 0"
            duckdb.sql(f"copy (select * from '{file}' where {where}) to '{out}' (format parquet)")
        elif file.suffix == ".jsonl":
            out.write_text("".join(line for line in file.open(encoding="utf-8") if chosen(line[:60])), encoding="utf-8")
        else:
            reader = gzip.open if file.suffix == ".gz" else open
            encoding = "cp1252" if file.name.startswith(("returns", "crm")) else "utf-8"
            delimiter = ";" if file.name.startswith(("payments", "returns", "crm")) else ","
            with reader(file, "rt", encoding=encoding, newline="") as source, reader(out, "wt", encoding=encoding, newline="") as to:  # fmt: skip
                rows = csv.reader(source, delimiter=delimiter)
                write = csv.writer(to, delimiter=delimiter)
                write.writerow(next(rows))
                write.writerows(row for row in rows if chosen(" ".join(row[:2])))


def median(runs: list[dict]) -> dict:
    """One run with the median of each table's seconds."""
    tables = {table: statistics.median(r["work"].get(table, 0.0) for r in runs) for table in runs[0]["work"]}
    return {**runs[0], "work": tables, "seconds": statistics.median(r["seconds"] for r in runs)}


def measure(data: Path, orders: int, share: int) -> dict:
    if not (data / "raw").is_dir():
        from ecommerce_platform.simulation import generate_shop

        generate_shop(data, orders=orders, days=DAYS + 1, seed=1, dirty_share=0.002)
    further, held = data / "raw" / FURTHER.isoformat(), data / "held"
    if not held.exists():
        further.rename(held)
    shutil.rmtree(further, ignore_errors=True)
    fresh(data)
    found = {"orders": orders, "backfill": load(data, START, LAST)}
    print(f"{orders:,}: backfill {found['backfill']['seconds']:.0f} s", flush=True)
    base = data / "base.duckdb"
    shutil.copy(data / "warehouse.duckdb", base)
    # Nothing to do: what a step costs that finds that nothing has changed.
    found["unchanged"] = median([load(data, LAST, LAST) for _ in range(REPEATS)])
    for name, part in (("day", 1), ("small_day", share)):
        if part == 1 and name == "small_day":
            continue
        shutil.rmtree(further, ignore_errors=True)
        if part == 1:
            shutil.copytree(held, further)
        else:
            thinned(held, further, part)
        runs = []
        for _ in range(REPEATS):
            fresh(data, base)
            runs.append(load(data, FURTHER, FURTHER))
        found[name] = median(runs)
        print(f"{orders:,}: {name} {work(found[name], True):.2f} s", flush=True)
    shutil.rmtree(further, ignore_errors=True)
    return found


def above_steps(run: dict, unchanged: dict) -> float:
    """Work of the counted tables beyond what their steps cost when nothing has changed."""
    return work(run, True) - work(unchanged, True)


def report(small: dict, large: dict, single: dict) -> str:
    back = small["backfill"]
    orchestration = [
        1000 * (r["backfill"]["seconds"] - work(r["backfill"])) / (r["backfill"]["partitioned"] * DAYS)
        for r in (small, large)
    ]
    lines = [
        "# Incremental loads",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}. "
        f"Days measured {REPEATS} times, medians. Data work: opening the warehouse to commit, checks included.",
        "",
        "## A backfill of 730 days in one run",
        "",
        "| | backfill, data work | one full load of the same rows, data work | ratio |",
        "| --- | ---: | ---: | ---: |",
        f"| {small['orders']:,} orders | {work(back):.1f} s | {work(single):.1f} s | {work(back) / work(single):.2f} |",
        "",
        f"Orchestration (run − data work): {orchestration[0]:.2f} ms per asset and day at {small['orders']:,} orders, "
        f"{orchestration[1]:.2f} ms at {large['orders']:,} ({back['partitioned']} assets × {DAYS} days).",
        "",
        "## One further day on top of 730",
        "",
        "Bronze, silver, facts and daily KPIs, above what their steps cost when nothing has changed.",
        "",
        "| on top of | full build | further day | share of the full build | the same number of orders a day |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for r in (small, large):
        full, day = work(r["backfill"], True), above_steps(r["day"], r["unchanged"])
        same = above_steps(r.get("small_day", r["day"]), r["unchanged"])
        lines.append(
            f"| {r['orders']:,} orders | {full:.1f} s | {day:.2f} s | {100 * day / full:.1f} % | {same:.2f} s |"
        )
    one = above_steps(small["day"], small["unchanged"])
    same = above_steps(large.get("small_day", large["day"]), large["unchanged"])
    natural = above_steps(large["day"], large["unchanged"])
    lines += [
        "",
        f"{large['orders']:,} against {small['orders']:,} orders of history: {same / one:.2f} × for a day with as many orders, "
        f"{natural / one:.2f} × for the larger shop's own day, which has {large['orders'] / small['orders']:.0f} × as many.",
        "",
        "## By table (seconds)",
        "",
        f"| table | {large['orders']:,}: backfill | its day | small day | nothing changed | {small['orders']:,}: its day | nothing changed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for table in sorted(large["backfill"]["work"], key=lambda t: -large["day"]["work"].get(t, 0)):
        cells = [
            large["backfill"]["work"], large["day"]["work"], large.get("small_day", large["day"])["work"],
            large["unchanged"]["work"], small["day"]["work"], small["unchanged"]["work"],
        ]  # fmt: skip
        mark = "" if counted(table) else " (replaced whole)" if table.startswith("gold.kpi") else " (dimension)"
        lines.append(f"| {table}{mark} | " + " | ".join(f"{c.get(table, 0):.3f}" for c in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000)
    parser.add_argument("--data", type=Path, default=Path("data") / "benchmarks" / "incremental")
    options = parser.parse_args()
    share = options.large // options.small
    small = measure(options.data / str(options.small), options.small, 1)
    target = options.data / "one_drop"
    shutil.rmtree(target, ignore_errors=True)
    one_drop(options.data / str(options.small), target)
    single = load(target, LAST, LAST)
    shutil.rmtree(target)
    large = measure(options.data / str(options.large), options.large, share)
    text = report(small, large, single)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "incremental.md").write_text(text, encoding="utf-8")

    print(text)


if __name__ == "__main__":
    main()
