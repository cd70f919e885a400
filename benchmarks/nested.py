"""What orders as nested JSON cost: raw tables of orders, lines and refund lines beside DuckDB's own read_json and unnest.

`python -m benchmarks.nested [--mb N …] [--layout lines|array] [--record MB] [--bare-memory GB]` prints a table. Processor seconds and peak memory of
each way in a process of its own; both ways write their tables into a database file, ours with provenance, hashes and books.
`--record` puts one order of so many megabytes among the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.__main__ import measure

SOURCE = """description: Orders as documents, to be measured.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders: {files: ["orders*"], description: Orders.}
  lines: {explode: orders.line_items, parent: {order_id: id}, description: Lines.}
  refund_lines:
    explode: orders.refunds[].lines
    parent: {order_id: id, refund_id: refunds.id}
    description: Lines of refunds.
"""
#: As a person would write it: the documents typed by DuckDB, then one table per array.
BARE = """
create table orders as select * from read_json('{file}', maximum_object_size = {size});
create table lines as select id as order_id, unnest(line_items, recursive := false) as line from orders;
create table refund_lines as select order_id, refund.id as refund_id, unnest(refund.lines) as line
from (select id as order_id, unnest(refunds) as refund from orders);
"""
DAY = date(2024, 1, 1)


def order(number: int, lines: int, chance: random.Random) -> dict[str, Any]:
    """One invented order in the manner of shop APIs."""
    person = {
        "first_name": "Ada",
        "last_name": f"Okafor {number % 997}",
        "city": "Lyon",
        "email": f"p{number}@example.org",
    }
    refund = {"id": f"r{number}", "total": "-3.00", "lines": [{"id": k, "line": k, "quantity": 1} for k in (1, 2)]}
    return {
        "id": number, "number": str(number), "status": "completed", "currency": "EUR", "date_created": "2024-01-01T16:28:02",
        "total": "29.35", "prices_include_tax": False, "customer_id": chance.randrange(100_000), "billing": person,
        "shipping": person, "meta_data": [{"id": 1, "key": "reduced", "value": "yes"}],
        "line_items": [
            {
                "id": number * 10 + k, "name": f"Product {chance.randrange(500)}", "product_id": chance.randrange(500),
                "quantity": chance.randrange(1, 4), "subtotal": "6.00", "total": "6.00", "total_tax": "0.45",
                "taxes": [{"id": 75, "total": "0.45"}], "meta_data": [], "sku": f"S{chance.randrange(500)}", "price": 3,
            }
            for k in range(lines)
        ],
        "refunds": [refund] if chance.random() < 0.1 else [],
    }  # fmt: skip


def write(file: Path, size: int, layout: str, record: int) -> int:
    """Writes about `size` bytes of orders, one of them of about `record` bytes; the bytes of the largest."""
    largest = 0
    with file.open("w") as out:
        out.write("[" if layout == "array" else "")
        for number, text in enumerate(_documents(size, record)):
            largest = max(largest, len(text))
            out.write((",\n" if layout == "array" else "\n") * (number > 0) + text)
        out.write("]" if layout == "array" else "\n")
    return largest


def _documents(size: int, record: int) -> Iterator[str]:
    chance, number, written = random.Random(1), 0, 0
    while written < size:
        lines = record // 214 if record and number == 1 else 1 + chance.randrange(5)
        text = json.dumps(order(number, lines, chance))
        number, written = number + 1, written + len(text)
        yield text


def run(way: str, file: Path, largest: int, memory: str) -> dict[str, float]:
    """One way in this process: processor seconds of the work, peak MiB and rows."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="bench-", dir=file.parent.parent) as name:
        con = duckdb.connect(
            f"{name}/bench.duckdb", config={"memory_limit": memory, "threads": 2, "temp_directory": f"{name}/spill"}
        )
        load = _ours(con, Path(name)) if way == "ours" else None
        before = _processor()
        if load is None:
            con.execute(BARE.format(file=file, size=max(16_777_216, largest + 1)))
        else:
            load(file)
        con.execute("checkpoint")
        seconds = _processor() - before
        schema = "bronze.bench__" if load else ""
        rows = [
            con.execute(f"select count(*) from {schema}{t}").fetchall()[0][0]
            for t in ("orders", "lines", "refund_lines")
        ]
        con.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "mib": peak, **dict(zip(("orders", "lines", "refund_lines"), rows, strict=True))}


def _ours(con: Any, folder: Path) -> Any:
    import numpy  # noqa: F401  (loading libraries is no part of the work)

    from ecommerce_platform.contracts.source import read_source
    from ecommerce_platform.ingestion.bronze import load_bronze
    from ecommerce_platform.ingestion.landing import RawFile

    home = folder / "bench"
    home.mkdir()
    (home / "source.yml").write_text(SOURCE)
    source = read_source(home, [])

    def load(file: Path) -> None:
        stat = file.stat()
        files = [RawFile(DAY, file.name, file, stat.st_size, stat.st_mtime_ns)]
        for table in source.file.tables:
            done = load_bronze(con, source, table, files, [DAY], expected=[], required={}, scratch=folder / "scratch")
            if done.problems or done.rows_rejected:
                print(f"{table}: {done.problems}", file=sys.stderr)

    return load


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=float, nargs="+", default=[10.0])
    parser.add_argument("--layout", choices=("lines", "array"), default="lines")
    parser.add_argument("--record", type=float, default=0.0, help="megabytes of one order")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--bare-memory", help="for read_json + unnest, where it does not get by with --memory")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.way:
        way, file, largest = options.way
        print(json.dumps(run(way, Path(file), int(largest), options.memory)))
        return
    print(
        "| MB | layout | largest record (MB) | ours (s) | read_json + unnest (s) | ratio | ours, peak (MiB) | bare, peak (MiB) |"
    )
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in options.mb:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            (Path(name) / "drop").mkdir()
            file = Path(name) / "drop" / ("orders.json" if options.layout == "array" else "orders.jsonl")
            largest = write(file, int(size * 1e6), options.layout, int(options.record * 1e6))
            found = {}
            for way in ("ours", "bare"):
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.nested",
                    "--memory",
                    options.memory if way == "ours" else options.bare_memory or options.memory,
                    "--way",
                    way,
                    str(file),
                    str(largest),
                ]
                found[way] = json.loads(measure(command, dict(os.environ))["out"].strip().splitlines()[-1])
            same = all(found["ours"][t] == found["bare"][t] for t in ("orders", "lines", "refund_lines"))
            ours, bare = found["ours"], found["bare"]
            print(
                f"| {size:,.0f} | {options.layout} | {largest / 1e6:,.1f} | {ours['seconds']:.2f} | {bare['seconds']:.2f} | "
                f"{ours['seconds'] / bare['seconds']:.2f} | {ours['mib']:,.0f} | {bare['mib']:,.0f} |"
                + ("" if same else "  rows differ!"),
                flush=True,
            )


if __name__ == "__main__":
    main()
