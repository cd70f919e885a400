"""What the API does under load: `python -m benchmarks.serving DATA_DIR [--seconds N]`, a data folder with a published snapshot.

Starts `ecommerce api` as a process of its own and asks it over HTTP, at a fixed rate whether or not answers have come (so a
slow answer delays nobody else, and waiting counts): point reads and repeated metrics, 1,000 distinct by Zipf's law; metrics
that nobody asked before; the same while the snapshot changes; and more than fits. The generator's own processor time is
stated. Writes benchmarks/results/serving.md. Large shops without a build: `benchmarks.many_orders`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil

from benchmarks.__main__ import RESULTS, environment, machine
from ecommerce_platform.publishing.publish import rewrite_manifest, switch
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot, read_manifest, snapshot_id
from ecommerce_platform.serving.access.accounts import Accounts

PORT = 8765
#: Distinct point reads and metrics of the repeated load.
DISTINCT = 1000
ECOMMERCE = str(Path(sys.executable).with_name("ecommerce"))


@dataclass
class Load:
    """What came of one phase."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    told_when: int = 0
    snapshots: set[str] = field(default_factory=set)
    mixed: int = 0
    processor: float = 0.0
    server: float = 0.0
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        values = sorted(self.milliseconds)
        return values[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


class Asker:
    """A few kept connections, each for one request at a time; plain HTTP, because a client library would cost more than the server."""

    def __init__(self, key: str) -> None:
        self.key = key
        #: Connections and since when nobody uses them: the server closes one after a minute.
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        while self.idle:
            reader, writer, since = self.idle.pop()
            if time.monotonic() - since < 30:
                break
            writer.close()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n\r\n"
        writer.write(head.encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.idle.append((reader, writer, time.monotonic()))
        return int(lines[0].split()[1]), headers, body


async def at_rate(asker: Asker, paths: list[str], rate: float, server: psutil.Process) -> Load:
    """Sends one request after the other at a rate, whatever becomes of those before."""
    load = Load()
    began_cpu, began_server = resource.getrusage(resource.RUSAGE_SELF), sum(server.cpu_times()[:2])
    began = time.perf_counter()

    async def one(path: str, due: float) -> None:
        status, headers, body = await asker.get(path)
        load.milliseconds.append(1000 * (time.perf_counter() - due))  # from when it was due: waiting here counts
        load.statuses[status] += 1
        load.told_when += status in (429, 503) and "retry-after" in headers
        if status == 200:
            snapshot = json.loads(body)["snapshot"]
            load.snapshots.add(snapshot)
            load.mixed += snapshot != headers["x-snapshot"].upper()

    tasks = []
    for number, path in enumerate(paths):
        due = began + number / rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(path, due)))
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - began
    ended = resource.getrusage(resource.RUSAGE_SELF)
    load.processor = ended.ru_utime + ended.ru_stime - began_cpu.ru_utime - began_cpu.ru_stime
    load.server = sum(server.cpu_times()[:2]) - began_server
    print(f"  {len(paths):,} requests, p95 {load.percentile(0.95):.1f} ms, {dict(load.statuses)}", flush=True)
    return load


def questions(data: Path) -> tuple[list[str], list[str]]:
    """Point reads and metrics that are asked again and again, and metrics that nobody asks twice."""
    with closing(open_snapshot(current_snapshot(data / "published"))) as con:
        persons = con.execute(
            "select person_id from gold.rfm using sample reservoir(600 rows) repeatable (1)"
        ).fetchall()
        products = con.execute("select product_id from gold.product_performance order by 1 limit 200").fetchall()
        ((first, last),) = con.execute("select min(order_date), max(order_date) from gold.kpi_daily").fetchall()
    points = [f"/v1/customers/{quote(p)}" for (p,) in persons] + [f"/v1/products/{quote(p)}" for (p,) in products]
    cuts = [
        f"/v1/query?{'&'.join(f'metric={m}' for m in metrics)}&period={period}{by}{only}"
        for metrics in (("revenue", "orders"), ("customers",), ("aov", "units"), ("new_customers",), ("on_time_rate",))
        for period in ("month", "quarter", "year", "week")
        for by in ("", "&by=channel", "&by=region", "&by=payment_method", "&by=weekday")
        for only in ("", "&filter=channel:web")
        if not ("new_customers" in metrics and (by or only))
    ]
    repeated = (points + cuts)[:DISTINCT]
    days = (last - first).days
    dice = random.Random(7)
    dimensions = ("channel", "region", "payment_method", "category", "weekday")
    pairs = list(itertools.permutations(dimensions, 2))
    fresh = []
    for number in range(2000):
        by = "".join(f"&by={d}" for d in pairs[number % len(pairs)][: 1 + number % 2])
        since = first.fromordinal(first.toordinal() + dice.randrange(max(days // 2, 1)))
        metric = dice.choice(["revenue", "orders", "customers", "aov", "units"])
        fresh.append(
            f"/v1/query?metric={metric}&period={dice.choice(['month', 'week'])}{by}&since={since}&limit=1000&offset={number}"
        )
    dice.shuffle(repeated)
    return repeated, fresh


def zipf(paths: list[str], count: int) -> list[str]:
    """So many of them, the nth as often as 1/n says."""
    return random.Random(3).choices(paths, [1 / n for n in range(1, len(paths) + 1)], k=count)


async def switching(published: Path, seconds: float, every: float, changed: bool) -> None:
    """Publishes the current snapshot's files again and again under new names, as a publish does at its end.

    Args:
        published: the folder of snapshots.
        seconds: for how long.
        every: seconds between two.
        changed: whether each says that all of its tables are others; else they are the same, as after a build with
            nothing new.
    """
    from datetime import UTC, datetime

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(every)
        here = current_snapshot(published)
        name = snapshot_id(datetime.now(UTC))
        there = published / "snapshots" / name
        for file in here.rglob("*"):
            if file.is_file():
                (there / file.relative_to(here)).parent.mkdir(parents=True, exist_ok=True)
                os.link(file, there / file.relative_to(here))
        if changed:
            manifest = read_manifest(here)
            for entry in manifest["tables"].values():
                entry["sha256"] = sha256(f"{name}{entry['sha256']}".encode()).hexdigest()
            rewrite_manifest(there, manifest)
        switch(published, name)


async def phases(data: Path, key: str, seconds: float, server: psutil.Process) -> dict[str, Load]:
    """The phases in turn."""
    repeated, fresh = questions(data)
    asker = Asker(key)
    found = {}
    count = int(100 * seconds)
    found[f"100 a second, {len(repeated):,} distinct, from a cold start"] = await at_rate(
        asker, zipf(repeated, count), 100, server
    )
    found["the same again"] = await at_rate(asker, zipf(repeated, count), 100, server)
    found["new metrics, one a second"] = await at_rate(asker, fresh[: int(seconds)], 1, server)
    for every, changed, what in ((5, False, "no table in it has"), (20, True, "all tables in it have")):
        publishing = asyncio.create_task(switching(data / "published", seconds, every, changed))
        name = f"100 a second while the snapshot changes every {every} s, and {what}"
        found[name] = await at_rate(asker, zipf(repeated, count), 100, server)
        await publishing
    found["new metrics, 60 a second"] = await at_rate(asker, fresh[1000:1600], 60, server)
    return found


def report(found: dict[str, Load], orders: int, memory: float, results: Path) -> str:
    lines = [
        "# The API under load",
        "",
        f"`python -m benchmarks.serving`, {orders:,} orders, {machine()}; server and generator share the cores.",
        "",
        "| load | requests | p50 ms | p95 ms | p99 ms | answers | mixed | server's processor | generator's |",
        "| --- | --: | --: | --: | --: | --- | --: | --: | --: |",
    ]
    for name, load in found.items():
        statuses = ", ".join(f"{n:,} × {s}" for s, n in sorted(load.statuses.items()))
        told = f" (all {load.told_when:,} with Retry-After)" if load.told_when else ""
        lines.append(
            f"| {name} | {len(load.milliseconds):,} | {load.percentile(0.5):.1f} | {load.percentile(0.95):.1f} | "
            f"{load.percentile(0.99):.1f} | {statuses}{told} | {load.mixed} | {load.server:.1f} s of {load.seconds:.0f} s | "
            f"{load.processor:.1f} s |"
        )
    lines += ["", f"Server's memory at the end: {memory:.0f} MiB.", ""]
    text = "\n".join(lines)
    (results / "serving.md").write_text(text)
    return text


def main(words: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--results", type=Path, default=RESULTS)
    chosen = arguments.parse_args(words)
    key = Accounts.of(chosen.data).add_key("load", "analyst", days=1)
    variables = {**environment(chosen.data.resolve()), "ECOMMERCE_API_RATE": "1000"}
    process = subprocess.Popen([ECOMMERCE, "api", "--port", str(PORT)], env=variables, stdout=subprocess.DEVNULL)
    try:
        server = psutil.Process(process.pid)
        wait_for_it()
        found = asyncio.run(phases(chosen.data, key, chosen.seconds, server))
        memory = server.memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait()
    with closing(open_snapshot(current_snapshot(chosen.data / "published"))) as con:
        ((orders,),) = con.execute("select count(*) from gold.fct_orders").fetchall()
    print(report(found, orders, memory, chosen.results))


def wait_for_it(port: int = PORT) -> None:
    """Until a server listens."""
    import socket

    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                sys.exit("the API did not come up")
            time.sleep(0.1)


if __name__ == "__main__":
    main()
