"""What extraction costs beside a bare read: a table out of PostgreSQL by `ecommerce extract`'s function, ADBC and connectorx.

`python -m benchmarks.extract [--rows N …] [--runs N]` writes benchmarks/results/extract.md. It starts a PostgreSQL server of its
own. The ways take turns, each in a process of its own. A bare read gets typed columns and drops them; ours gets text, works
out the digest and writes Parquet to disk. Seconds are those of the work, without starting Python and loading libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.__main__ import RESULTS, machine, measure

TABLE = """
create table orders as select
    i as id, (i * 7919) % 200000 as customer_id, timestamp '2024-01-01' + i * interval '7 seconds' as placed_at,
    timestamptz '2024-01-01 00:00+00' + i * interval '7 seconds' + i % 977 * interval '1 ms' as updated_at,
    (array['created', 'approved', 'shipped', 'delivered', 'canceled'])[1 + i % 5] as status,
    cast(i * 37 % 100000 as numeric(12, 2)) / 100 as total, i % 3 = 0 as is_gift, (i * 31 % 1000) / 10.0 as weight,
    'Street ' || i % 9973 || ' No ' || i % 200 as address, case when i % 10 > 0 then 'note ' || i end as note
from generate_series(1, {rows}::bigint) as s(i)
"""
SOURCE = """description: What is extracted to be measured.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
database: {{kind: postgresql, url: BENCHMARK_DATABASE}}
tables:
  orders: {{files: ["orders*"], description: Orders., delivery: {delivery}, extract: {{table: orders{watermark}}}}}
"""
WAYS = {
    "ours, whole": "`extract`, the whole table (change detection)",
    "ours, watermark": "`extract`, first read by watermark",
    "ours, unchanged": "`extract`, the whole table, unchanged (read, nothing landed)",
    "adbc": "bare ADBC read, batch by batch",
    "connectorx": "bare connectorx read into Arrow",
}


def read(way: str, folder: Path) -> dict:
    """One way, in this process; seconds of the work."""
    url, rows = os.environ["BENCHMARK_DATABASE"], 0
    if way.startswith("ours"):
        import duckdb  # noqa: F401
        import pyarrow.parquet  # noqa: F401

        from ecommerce_platform.contracts.source import read_source
        from ecommerce_platform.ingestion.extraction.extract import extract

        source = read_source(folder / ("delta" if way == "ours, watermark" else "whole"), [])
        target = folder / "data" / ("delta" if way == "ours, watermark" else "whole")
        if way != "ours, unchanged":
            shutil.rmtree(target, ignore_errors=True)
        started = time.perf_counter()
        (found,) = extract(source, target).tables
        seconds = time.perf_counter() - started
        rows, size = found.rows, found.bytes
        return {"seconds": seconds, "rows": rows, "bytes": size}
    if way == "adbc":
        from adbc_driver_postgresql import dbapi

        started = time.perf_counter()
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("select * from orders")
            rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    else:
        import connectorx

        started = time.perf_counter()
        rows = connectorx.read_sql(url, "select * from orders", return_type="arrow").num_rows
    return {"seconds": time.perf_counter() - started, "rows": rows, "bytes": 0}


def compare(rows: int, runs: int, url: str, folder: Path) -> dict:
    environment = {**os.environ, "BENCHMARK_DATABASE": url}
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    for number in range(runs):
        for way in WAYS:
            done = measure([sys.executable, "-m", "benchmarks.extract", "--way", way, str(folder)], environment)
            inside = json.loads(done["out"].strip().splitlines()[-1])
            assert inside["rows"] == (0 if way == "ours, unchanged" else rows), (way, inside)
            found[way].append({**inside, "mib": done["mib"]})
        print(
            f"{rows:,} rows, run {number + 1}: " + ", ".join(f"{w} {f[-1]['seconds']:.1f} s" for w, f in found.items()),
            flush=True,
        )
    return found


def report(results: dict[int, dict], runs: int) -> str:
    lines = [
        "# Extraction: a table out of PostgreSQL",
        "",
        f"`python -m benchmarks.extract` on {time.strftime('%Y-%m-%d')}: {machine()}; the server runs on the same machine. Ten columns,",
        f"medians of {runs} runs in turn. A bare read drops what it reads; ours writes Parquet to disk and syncs it. *Speed* is rows a",
        "second beside the bare read of the same run (1 is as fast).",
        "",
        "| rows | | seconds | rows a second | speed beside ADBC | speed beside connectorx | peak (MiB) | file (MB) |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    median = statistics.median
    for rows, found in results.items():
        for way, label in WAYS.items():
            seconds = median(f["seconds"] for f in found[way])
            speed = [
                median(bare["seconds"] / f["seconds"] for bare, f in zip(found[other], found[way], strict=True))
                for other in ("adbc", "connectorx")
            ]
            size = max(f["bytes"] for f in found[way]) / 1e6
            lines.append(
                f"| {rows:,} | {label} | {seconds:.1f} | {rows / seconds:,.0f} | {speed[0]:.2f} | {speed[1]:.2f} | "
                f"{max(f['mib'] for f in found[way]):.0f} | {f'{size:.0f}' if size else ''} |"
            )
    small, large = min(results), max(results)
    if small < large:
        lines += ["", f"Peak memory at {large:,} rows against {small:,}:"]
        for way in WAYS:
            peaks = [max(f["mib"] for f in results[rows][way]) for rows in (small, large)]
            lines.append(f"- {WAYS[way]}: {peaks[0]:.0f} → {peaks[1]:.0f} MiB ({peaks[1] / peaks[0]:.2f} ×)")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--way", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(read(options.way[0], Path(options.way[1]))))
        return
    from ecommerce_platform_tests.databases import serve

    results = {}
    with serve("postgresql", own=True) as server, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for kind, delivery, mark in (("whole", "full", ""), ("delta", "delta", ", watermark: updated_at, id: id")):
            (folder / kind).mkdir()
            (folder / kind / "source.yml").write_text(SOURCE.format(delivery=delivery, watermark=mark))
        for rows in options.rows:
            server.run(
                "drop table if exists orders", TABLE.format(rows=rows), "alter table orders add primary key (id)"
            )
            server.run("create index on orders (updated_at, id)", "vacuum analyze orders")
            results[rows] = compare(rows, options.runs, server.url, folder)
    text = report(results, options.runs)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "extract.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
