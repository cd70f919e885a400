"""How the SELECTs of gold grow on Spark, beside DuckDB: `python -m benchmarks.spark DATA_DIR DATA_DIR`, built shops, smaller first.

Each engine works every table out from the same inputs, one after the other, in a process of its own and with nothing
left out but the tables that are not on Spark; nothing in the warehouse is changed. Spark gets its inputs as Parquet
first, as a build gives it them, and that is counted apart. Both use two threads of this machine: what a cluster would take is
worked out from the slope, and is labelled as that. Writes benchmarks/results/spark.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.__main__ import RESULTS, environment, machine, measure, table

if TYPE_CHECKING:
    from ecommerce_platform.orchestration.project import Project
    from ecommerce_platform.warehouse.sql_model import SqlModel

MASTER, MEMORY = "local[2]", "4g"
#: Tables listed by name.
DEAREST = 10


def _project(data: Path) -> Project:
    from ecommerce_platform.orchestration.project import read_project
    from ecommerce_platform.settings import read_settings

    return read_project(read_settings(data_dir=data, dagster_home=data / "dagster_home", threads=2))


def _models(project: Project) -> dict[str, SqlModel]:
    """The SELECTs of gold that Spark can run."""
    return {
        name: model for name, model in project.models.items()
        if model.contract.layer == "gold" and not model.contract.not_on_spark
    }  # fmt: skip


def by_duckdb(data: Path) -> dict:
    """Seconds of each SELECT in DuckDB, its rows in a temporary table."""
    from ecommerce_platform.orchestration.resources import open_warehouse

    project, took = _project(data), dict[str, float]()
    with open_warehouse(project.settings).connect() as con:
        for name, model in _models(project).items():
            started = time.perf_counter()
            con.execute(f"create or replace temp table _made as {model.table.sql}")
            took[name] = time.perf_counter() - started
        (lines,), (orders,) = (
            con.execute(f"select count(*) from gold.{name}").fetchall()[0] for name in ("fct_order_items", "fct_orders")
        )
    return {"tables": took, "lines": lines, "orders": orders}


def by_spark(data: Path) -> dict:
    """Seconds of copying, of starting and of each SELECT on Spark, its rows written as Parquet; the JVM's peak in MiB."""
    from ecommerce_platform.engines.gold import Cluster, mirror
    from ecommerce_platform.orchestration.resources import open_warehouse

    project, took = _project(data), dict[str, float]()
    root = data / "spark-benchmark"
    shutil.rmtree(root, ignore_errors=True)
    cluster, models = Cluster(root, MASTER, MEMORY, project.contracts), _models(project)
    started = time.perf_counter()
    with open_warehouse(project.settings).connect() as con:
        for name in sorted({read for model in models.values() for read in model.reads} | set(models)):
            mirror(con, cluster.store, project.contracts[name])
    copied = time.perf_counter() - started
    size = sum(p.stat().st_size for p in root.rglob("*.parquet"))
    try:
        started = time.perf_counter()
        cluster.engine.spark.range(1).count()
        start = time.perf_counter() - started
        for name, model in models.items():
            started = time.perf_counter()
            cluster.engine.stage(model.contract, model.table.sql or "", cluster.store.current(name))
            took[name] = time.perf_counter() - started
        peak = _java_peak()
    finally:
        cluster.close()
        shutil.rmtree(root, ignore_errors=True)
    return {"tables": took, "copied": copied, "start": start, "java_mib": peak, "bytes": size}


def _java_peak() -> float:
    """Peak resident memory of the JVM that this process has started, in MiB."""
    for status in Path("/proc").glob("[0-9]*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if fields["Name"].strip() == "java" and int(fields["PPid"]) == os.getpid():
            return int(fields["VmHWM"].split()[0]) / 1024
    return float("nan")


def report(found: list[tuple[dict, dict]], results: Path) -> None:
    """Writes and prints what was measured: of each shop DuckDB's figures and Spark's."""
    rows, totals = [], []
    for duck, spark in found:
        totals.append((sum(duck["tables"].values()), sum(spark["tables"].values())))
        rows.append([
            f"{duck['orders']:,}", f"{duck['lines']:,}", f"{totals[-1][0]:.1f}", f"{totals[-1][1]:.1f}",
            f"{totals[-1][1] / totals[-1][0]:.1f}", f"{spark['start']:.1f}", f"{spark['copied']:.1f}",
            f"{spark['bytes'] / 1e6:,.0f}", f"{spark['mib']:,.0f}", f"{spark['java_mib']:,.0f}",
        ])  # fmt: skip
    lines = [
        "# The SELECTs of gold on Spark, beside DuckDB",
        "",
        f"`python -m benchmarks.spark` on {time.strftime('%Y-%m-%d')}: {machine()}. {len(found[0][0]['tables'])} tables, single runs, in seconds.",
        f"Spark 4 on `{MASTER}` with {MEMORY}, DuckDB with two threads and {os.environ.get('ECOMMERCE_MEMORY_LIMIT', '2GB')}.",
        "",
        *table(
            ["orders", "order lines", "DuckDB", "Spark", "ratio", "Spark's start", "copying to Parquet", "MB of it", "Python's peak MiB", "Java's"],
            rows,
        ),
    ]  # fmt: skip
    if len(found) > 1:
        lines += _growth(found, totals)
    results.mkdir(exist_ok=True)
    (results / "spark.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _growth(found: list[tuple[dict, dict]], totals: list[tuple[float, float]]) -> list[str]:
    (small, small_spark), (large, large_spark) = found[0], found[-1]
    more = large["lines"] / small["lines"]
    dear = sorted(large_spark["tables"], key=large_spark["tables"].get, reverse=True)[:DEAREST]
    rows = [
        [
            f"`{name}`", f"{small['tables'][name]:.1f}", f"{large['tables'][name]:.1f}",
            f"{small_spark['tables'][name]:.1f}", f"{large_spark['tables'][name]:.1f}",
            f"{large_spark['tables'][name] / small_spark['tables'][name] / more:.2f}",
        ]
        for name in dear
    ]  # fmt: skip
    growth = [totals[-1][engine] / totals[0][engine] / more for engine in (0, 1)]
    slopes = [(totals[-1][e] - totals[0][e]) / (large["lines"] - small["lines"]) * 1e6 for e in (0, 1)]
    return [
        f"Time ratio ÷ row ratio ({more:.2f} × the lines): Spark {growth[1]:.2f}, DuckDB {growth[0]:.2f}. Of each further million order lines "
        f"Spark takes {slopes[1]:.2f} s, DuckDB {slopes[0]:.2f} s.",
        "",
        f"## The {len(dear)} dearest on Spark",
        "",
        *table(
            ["table", "DuckDB, smaller", "larger", "Spark, smaller", "larger", "Spark: time ratio ÷ row ratio"], rows
        ),
    ]


def main(words: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path, nargs="+", help="data folders of built shops, the smallest first")
    arguments.add_argument(
        "--by", choices=["duckdb", "spark"], help="one engine on one shop, in this process; prints JSON"
    )
    arguments.add_argument("--results", type=Path, default=RESULTS)
    chosen = arguments.parse_args(words)
    if chosen.by:
        print(json.dumps({"duckdb": by_duckdb, "spark": by_spark}[chosen.by](chosen.data[0])))
        return
    found = []
    for data in chosen.data:
        both = []
        for engine in ("duckdb", "spark"):
            print(f"{data}: {engine} …", flush=True)
            run = measure([sys.executable, "-m", "benchmarks.spark", str(data), "--by", engine], environment(data))
            both.append({**run, **json.loads(run["out"].strip().splitlines()[-1])})
        found.append((both[0], both[1]))
    report(found, chosen.results)


if __name__ == "__main__":
    main()
