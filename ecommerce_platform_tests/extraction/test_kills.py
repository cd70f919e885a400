"""Extracts that are killed, whose server is stopped and whose connection is cut, while others write: nothing is lost or
doubled. Each kind of database goes through at least as many interruptions as `INTERRUPTIONS` says, at random points.
"""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.ingestion.extraction.ledger import read_entry
from ecommerce_platform.ingestion.landing import list_drops
from ecommerce_platform_tests.conftest import ROOT
from ecommerce_platform_tests.databases import Kind, Server, serve
from ecommerce_platform_tests.extraction.conftest import DAY, VARIABLE, Place, server_place

INTERRUPTIONS = 21
#: Seconds that a transaction may stay open after it has written; the lag window is four times that.
LATE = 3.0


class Proxy:
    """A TCP connection to the server that breaks off after so many bytes."""

    def __init__(self, port: int) -> None:
        self.target, self.cut_after, self.passed = port, None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted and self.cut_after is not None and self.passed + len(data) > self.cut_after:
                    target.sendall(data[: max(0, self.cut_after - self.passed)])
                    if random.random() < 0.5:  # reset, instead of an end in order
                        target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    break
                self.passed += len(data) if counted else 0
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self.listener.close()


class Writer(threading.Thread):
    """Writes until it is told to stop; a lost connection is opened again. Some transactions are committed late."""

    def __init__(self, place: Place, number: int) -> None:
        super().__init__(daemon=True)
        self.place, self.chance, self.ended = place, random.Random(number), threading.Event()
        self.first, self.commits = 1_000_000 * (number + 1), 0

    def run(self) -> None:
        while not self.ended.is_set():
            try:
                connection = self.place.server.connect(self.place.database, autocommit=False)
            except Exception:
                time.sleep(0.1)
                continue
            with suppress(Exception):
                while not self.ended.is_set():
                    with connection.cursor() as cursor:
                        self._write(cursor)
                    connection.commit()
                    self.commits += 1
                    time.sleep(0.01)
            with suppress(Exception):
                connection.close()

    def _write(self, cursor: Any) -> None:
        chance, now = self.chance, "clock_timestamp()" if self.place.kind == "postgresql" else "sysdate(6)"
        kind = chance.random()
        if kind < 0.5:
            self.first += 1
            cursor.execute(f"insert into orders values ({self.first}, 'new', {now})")
        elif kind < 0.8:
            number = chance.randrange(20_000) * 2 + self.first // 1_000_000 % 2  # never rows of the other writer
            cursor.execute(
                f"update orders set v = 'v{chance.randrange(10**9)}', updated_at = {now} where id = {number}"
            )
        elif kind < 0.9:
            cursor.execute(
                f"update products set v = 'v{chance.randrange(10**9)}' where id = {chance.randrange(15_000)}"
            )
        elif kind < 0.95:
            cursor.execute(f"delete from products where id = {chance.randrange(15_000)}")
        else:
            self.first += 1
            cursor.execute(f"insert into products values ({self.first}, 'new')")
        if chance.random() < 0.05:
            time.sleep(chance.uniform(0, LATE))


def prepare(place: Place) -> None:
    numbers = "generate_series(0, {0}) as s(seq)" if place.kind == "postgresql" else "seq_0_to_{0}"
    time = "timestamp" if place.kind == "postgresql" else "datetime(6)"
    place.run(
        f"create table orders (id bigint primary key, v varchar(100), updated_at {time})",
        "create table products (id bigint primary key, v varchar(100))",
        f"insert into orders select seq, 'first', '2024-04-01' from {numbers.format(39_999)}",
        f"insert into products select seq, 'first' from {numbers.format(14_999)}",
        "create index orders_updated_at on orders (updated_at)",
    )
    place.time_zone = "UTC"
    place.declare("orders", watermark="updated_at", lag_minutes=4 * LATE / 60)
    place.declare("products")
    _ = place.source  # written, for the processes to read


def start(place: Place, port: int, day: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ecommerce_platform_tests.extraction.child", str(place.folder / "shop"), str(place.raw), day],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TZ": "UTC", VARIABLE: place.server.url_of(place.database, port)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "begun\n", process.communicate()
    return process


@contextmanager
def writing(place: Place) -> Iterator[list[Writer]]:
    writers = [Writer(place, number) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join()


def check_files(place: Place) -> None:
    """Whatever lies in a drop is whole."""
    for files in list_drops(place.raw, place.source).tables.values():
        for file in files:
            found = read_entry(file.path)
            assert found
            rows, distinct = duckdb.sql(f"select count(*), count(distinct id) from '{file.path}'").fetchall()[0]
            assert rows == distinct == found[0].rows


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_nothing_is_lost_or_doubled_by_interruptions_while_others_write(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with serve(kind, own=True) as server, server.database() as name:
        place = server_place(server, name, tmp_path, monkeypatch)
        prepare(place)
        outcomes: dict[str, list[str]] = {"kill": [], "stop": [], "cut": []}
        with writing(place) as writers:
            proxy = Proxy(server.port)
            begun = time.monotonic()
            process = start(place, proxy.port, DAY.isoformat())
            assert process.wait() == 0, process.communicate()
            first = time.monotonic() - begun
            usual, amount = first, proxy.passed
            for number in range(3 * INTERRUPTIONS):
                if number % 3 == 0 and hits(outcomes) >= INTERRUPTIONS:
                    break
                how = ("kill", "stop", "cut")[number % 3]
                day = (DAY + timedelta(days=number // 6)).isoformat()
                proxy.passed, proxy.cut_after = 0, chance.randrange(amount) if how == "cut" else None
                begun = time.monotonic()
                process = start(place, proxy.port, day)
                begun = time.monotonic()
                if how != "cut":
                    time.sleep(chance.uniform(0, usual if how == "kill" else 0.6 * usual))
                    if how == "kill":
                        process.kill()
                    else:
                        server.stop(at_once=chance.random() < 0.7)
                        time.sleep(chance.uniform(0, 0.5))
                        server.start()
                code = process.wait()
                heard, said = process.communicate()
                assert code in (0, 3, -9), said
                missed = "done after 1" in heard
                outcomes[how].append({0: "missed" if missed else "tried again", 3: "lost", -9: "killed"}[code])
                proxy.cut_after = None
                check_files(place)
                if number % 4 == 3:  # now and then one comes through
                    begun, proxy.passed = time.monotonic(), 0
                    process = start(place, proxy.port, day)
                    begun = time.monotonic()
                    assert process.wait() == 0, process.communicate()
                    usual, amount = time.monotonic() - begun, proxy.passed
        print(
            f"{kind}: {outcomes}, {sum(w.commits for w in writers):,} transactions, an extract {usual:.2f} s, {amount:,} bytes"
        )
        process = start(place, proxy.port, day)
        assert process.wait() == 0, process.communicate()
        proxy.close()
        compare(place)
        assert hits(outcomes) >= INTERRUPTIONS
        assert all(any(outcome != "missed" for outcome in found) for found in outcomes.values())
        assert sum(w.commits for w in writers) > 500


def hits(outcomes: dict[str, list[str]]) -> int:
    """How many interruptions came while there was something to interrupt."""
    return sum(outcome != "missed" for found in outcomes.values() for outcome in found)


def compare(place: Place) -> None:
    """The drops hold what the database holds: of orders each version once, of products the newest table."""
    check_files(place)
    orders = place.rows("orders")
    versions: dict[str, tuple[Any, ...]] = {}
    for row in orders:
        versions[row[0]] = row
    text = "text" if place.kind == "postgresql" else "char"
    query = "select " + ", ".join(f"cast({c} as {text})" for c in ("id", "v", "updated_at")) + " from orders"
    there = {row[0]: row for row in place.run(query)}
    assert versions.keys() == there.keys()
    assert {n for n, row in versions.items() if row[:2] != there[n][:2]} == set()
    assert len(orders) == len(set(orders)), "a row came twice although nothing had changed"
    products = place.rows("products", newest_only=True)
    assert len(products) == len(set(products))
    assert set(products) == set(place.run(f"select cast(id as {text}), v from products"))
    assert len(list_drops(place.raw, place.source).days) >= 3


@pytest.mark.filterwarnings("error")  # also for what PyMySQL says when it finds a stream unfinished
def test_a_connection_that_breaks_off_anywhere_gives_an_error_and_never_a_part(
    mysql: Server, postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A few cuts of each kind in the fast tests, too: within the log-in, the questions and the rows."""
    from ecommerce_platform.ingestion.extraction.database import ConnectionLost

    for server in (postgresql, mysql):
        with server.database() as name:
            place = server_place(server, name, tmp_path / server.kind, monkeypatch)
            place.folder.mkdir()
            place.run("create table t (id bigint primary key, v varchar(100))")
            values = ", ".join(f"({n}, '{'x' * (n % 90)}')" for n in range(5_000))
            place.run(f"insert into t values {values}")
            place.declare("t")
            proxy = Proxy(server.port)
            monkeypatch.setenv(VARIABLE, place.server.url_of(name, proxy.port))
            for cut in (1, 60, 500, 3_000, 100_000, 200_000):
                proxy.passed, proxy.cut_after = 0, cut
                with pytest.raises(ConnectionLost):
                    place.extract()
                assert list_drops(place.raw, place.source).days == ()
            proxy.cut_after = None
            assert place.one().rows == 5_000
            proxy.close()
