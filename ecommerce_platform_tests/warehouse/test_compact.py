"""The warehouse file is written anew: nothing deleted is left in it, and nobody who waits for it loses a write."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ecommerce_platform.warehouse.compact import compact
from ecommerce_platform.warehouse.connection import Warehouse, opening

SECRET = "anna.mueller@post.example"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", "shop", {"threads": 1})
    with warehouse.connect() as con:
        # Compressed, a text is not to be found in a file even where it stands.
        con.execute("pragma force_compression = 'uncompressed'")
        con.execute(
            "create table silver.t as select range as i, 'value ' || range as v, case when range % 7 = 0 then date '2024-01-01' "
            "end as d from range(20000)"
        )
        con.execute(f"insert into silver.t select range, '{SECRET}' || range, null from range(20000, 40000)")
        con.execute('create schema changes; create table changes."silver.t" (a varchar)')
    with warehouse.connect() as con:
        con.execute("delete from silver.t where i >= 20000")
    return warehouse


def test_what_was_deleted_is_gone_and_all_else_is_there(warehouse: Warehouse) -> None:
    assert SECRET.encode() in warehouse.path.read_bytes()
    with warehouse.connect() as con:
        rows = con.execute("from silver.t").fetchall()
        described = con.execute("describe silver.t").fetchall()
        macros = con.execute("select function_name from duckdb_functions() where not internal order by 1").fetchall()
    before, after = compact(warehouse)
    assert after < before
    assert SECRET.encode() not in warehouse.path.read_bytes()
    with warehouse.connect() as con:
        assert con.execute("from silver.t").fetchall() == rows, "in the same order, too"
        assert con.execute("describe silver.t").fetchall() == described
        found = con.execute("select function_name from duckdb_functions() where not internal order by 1").fetchall()
        assert found == macros
        assert con.execute("select as_id('17850.0')").fetchall() == [("17850",)]
        assert con.execute("select source from main.warehouse_info").fetchall() == [("shop",)]
    assert [p.name for p in warehouse.path.parent.iterdir() if p.is_file()] == ["warehouse.duckdb"]


def test_what_a_kill_has_left_is_no_hindrance(warehouse: Warehouse) -> None:
    warehouse.path.with_name("warehouse.duckdb.compact").write_bytes(b"half a file")
    compact(warehouse)
    assert not warehouse.path.with_name("warehouse.duckdb.compact").exists()


@pytest.mark.long
@pytest.mark.servers
def test_writers_that_wait_lose_nothing(warehouse: Warehouse) -> None:
    """Other processes write as fast as they can while the file is exchanged again and again."""
    code = (
        "import sys; from pathlib import Path\n"
        "from ecommerce_platform.warehouse.connection import Warehouse\n"
        "w = Warehouse(Path(sys.argv[1]), 'shop', {'threads': 1})\n"
        "for n in range(25):\n"
        "    with w.connect() as con:\n"
        "        con.execute('insert into silver.written values (?, ?)', [int(sys.argv[2]), n])\n"
    )
    with warehouse.connect() as con:
        con.execute("create table silver.written (who int, n int)")
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(warehouse.path), str(who)], stderr=subprocess.DEVNULL)
        for who in range(2)
    ]
    exchanged = 0
    while any(w.poll() is None for w in writers):
        compact(warehouse)
        exchanged += 1
    assert [w.returncode for w in writers] == [0, 0]
    assert exchanged > 2
    with warehouse.connect() as con:
        assert con.execute("select who, count(*), count(distinct n) from silver.written group by 1 order by 1").fetchall() == [
            (0, 25, 25), (1, 25, 25),
        ]  # fmt: skip


def test_nobody_opens_the_warehouse_while_it_is_exchanged(warehouse: Warehouse) -> None:
    opened = threading.Event()

    def open_it() -> None:
        with warehouse.connect():
            opened.set()

    with opening(warehouse.path, alone=True):
        thread = threading.Thread(target=open_it)
        thread.start()
        assert not opened.wait(0.3)
    assert opened.wait(10)
    thread.join()
