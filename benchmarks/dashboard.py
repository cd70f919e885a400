"""What the dashboard does for many who look: `python -m benchmarks.dashboard DATA_DIR [--users 20] [--seconds 60]`.

Starts `ecommerce dashboard` as a process of its own and talks Streamlit's protocol to it over websockets, as browsers do but
without drawing: first pages one after the other, filters one after the other, then users who each choose a filter every five
seconds, the last time while the snapshot changes. Times run from the question to the end of the script's run, for first and
filtered pages also to the first figure on a card. Writes benchmarks/results/dashboard.md. A browser's own drawing comes on top.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import psutil
import websockets

from benchmarks.__main__ import RESULTS, environment, machine
from benchmarks.serving import ECOMMERCE, switching, wait_for_it
from ecommerce_platform.reading.snapshots import current_snapshot, open_snapshot
from ecommerce_platform.serving.access.accounts import Accounts
from ecommerce_platform.serving.access.web import COOKIE

PORT = 8766
#: Seconds between two actions of a user, and the longest wait for a page.
PAUSE, PATIENCE = 5.0, 90.0
FILTERS = ("channel", "region", "segment", "category", "payment_method")


@dataclass
class Seen:
    """What came of one phase."""

    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    errors: int = 0
    took: float = 0.0
    server: float = 0.0
    own: float = 0.0

    def percentile(self, values: list[float], share: float) -> float:
        ordered = sorted(values)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


class User:
    """One session over a websocket."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.socket: websockets.ClientConnection | None = None

    async def open(self) -> None:
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{PORT}/_stcore/stream", origin=websockets.Origin(f"http://127.0.0.1:{PORT}"),
            additional_headers={"cookie": f"{COOKIE}={self.token}"}, max_size=None, ping_interval=None,
        )  # fmt: skip

    async def look(self, parameters: dict[str, str], seen: Seen) -> None:
        """Asks for a page and waits until its script has run."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        assert self.socket
        message = BackMsg()
        message.rerun_script.query_string = urlencode(parameters)
        began, first = time.perf_counter(), None
        await self.socket.send(message.SerializeToString())
        while True:
            found = ForwardMsg()
            found.ParseFromString(await asyncio.wait_for(self.socket.recv(decode=False), PATIENCE))
            kind = found.WhichOneof("type")
            if kind == "delta":
                element = found.delta.new_element
                first = first or (time.perf_counter() if element.WhichOneof("type") == "metric" else None)
                seen.errors += element.WhichOneof("type") == "exception"
            elif kind == "script_finished":
                break
        seen.seconds.append(time.perf_counter() - began)
        if first:
            seen.first.append(first - began)


async def phase(server: psutil.Process, work: list) -> Seen:
    """Runs what users do and notes the processor time of both sides; `work` are functions of `Seen`, all at once."""
    seen = Seen()
    usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    server_began = sum(server.cpu_times()[:2])
    for result in await asyncio.gather(*(one(seen) for one in work), return_exceptions=True):
        if isinstance(result, BaseException):
            print(f"  {result!r}", flush=True)
            seen.errors += 1
    ended = resource.getrusage(resource.RUSAGE_SELF)
    seen.took, seen.server = time.perf_counter() - began, sum(server.cpu_times()[:2]) - server_began
    seen.own = ended.ru_utime + ended.ru_stime - usage.ru_utime - usage.ru_stime
    print(
        f"  {len(seen.seconds)} looks, p95 {seen.percentile(seen.seconds, 0.95):.2f} s, {seen.errors} errors",
        flush=True,
    )
    return seen


def choices(data: Path) -> list[dict[str, str]]:
    """Views that hold to one or two values, each once."""
    with closing(open_snapshot(current_snapshot(data / "published"))) as con:
        rows = con.execute(
            "select dimension, value from gold.kpi_by_dimension where value <> 'unknown' group by 1, 2 order by sum(revenue) desc, 1, 2"
        ).fetchall()
    by = {d: [v for name, v in rows if name == d][:6] for d in FILTERS}
    one = [{d: v} for d, values in by.items() for v in values]
    two = [{"region": r, "channel": c} for r in by["region"] for c in by["channel"]]
    dice = random.Random(5)
    dice.shuffle(one)
    dice.shuffle(two)
    return [*one, *two]


async def phases(
    data: Path, token: str, users: int, seconds: float, server: psutil.Process
) -> tuple[dict[str, Seen], float]:
    """The phases in turn, and the memory of each further session (MiB)."""
    views, found = choices(data), {}
    alone = User(token)

    async def firsts(seen: Seen) -> None:
        for _ in range(10):
            user = User(token)
            await user.open()
            await user.look({}, seen)
            assert user.socket
            await user.socket.close()

    async def filters(seen: Seen) -> None:
        await alone.open()
        await alone.look({}, Seen())
        for view in views[:25]:
            await alone.look(view, seen)

    found["first pages, one after the other"] = await phase(server, [firsts])
    found["filters nobody asked for before, one after the other"] = await phase(server, [filters])
    before = server.memory_info().rss
    everybody = [User(token) for _ in range(users)]
    for user in everybody:
        await user.open()
        await user.look({}, Seen())
    memory = (server.memory_info().rss - before) / 2**20 / users

    def acting(number: int, user: User):
        async def act(seen: Seen) -> None:
            dice, until = random.Random(number), time.monotonic() + seconds
            await asyncio.sleep(PAUSE * number / users)
            while time.monotonic() < until:
                due = time.monotonic() + PAUSE
                await user.look(dice.choice(views), seen)
                await asyncio.sleep(max(due - time.monotonic(), 0))

        return act

    acts = [acting(n, u) for n, u in enumerate(everybody)]
    found[f"{users} users, an action each {PAUSE:.0f} s"] = await phase(server, acts)
    publishing = asyncio.create_task(switching(data / "published", seconds, 5, changed=False))
    found["the same while the snapshot changes every 5 s"] = await phase(server, acts)
    await publishing
    return found, memory


def report(found: dict[str, Seen], orders: int, memory: float, results: Path) -> str:
    lines = [
        "# The dashboard with many who look", "",
        f"`python -m benchmarks.dashboard`, {orders:,} orders, {machine()}; server and users share the cores.", "",
        "| what | looks | first card p50 s | p95 s | whole page p50 s | p95 s | errors | server's processor | the users' |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]  # fmt: skip
    for name, seen in found.items():
        figures = [seen.percentile(v, share) for v in (seen.first, seen.seconds) for share in (0.5, 0.95)]
        lines.append(
            f"| {name} | {len(seen.seconds)} | {' | '.join(f'{f:.2f}' for f in figures)} | {seen.errors} | "
            f"{seen.server:.1f} s of {seen.took:.0f} s | {seen.own:.1f} s |"
        )
    text = "\n".join([*lines, "", f"Memory of each further session: {memory:.1f} MiB.", ""])
    (results / "dashboard.md").write_text(text)
    return text


def main(words: list[str] | None = None) -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--users", type=int, default=20)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--results", type=Path, default=RESULTS)
    chosen = arguments.parse_args(words)
    accounts = Accounts.of(chosen.data)
    token = accounts.exchange(accounts.one_time_link())
    assert token
    variables = environment(chosen.data.resolve())
    process = subprocess.Popen(
        [ECOMMERCE, "dashboard", "--port", str(PORT)],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server = psutil.Process(process.pid)
        wait_for_it(PORT)
        found, memory = asyncio.run(phases(chosen.data, token, chosen.users, chosen.seconds, server))
    finally:
        process.terminate()
        process.wait()
    with closing(open_snapshot(current_snapshot(chosen.data / "published"))) as con:
        ((orders,),) = con.execute("select count(*) from gold.fct_orders").fetchall()
    print(report(found, orders, memory, chosen.results))


if __name__ == "__main__":
    main()
