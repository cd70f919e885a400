"""The warehouse file: waiting instead of failing, closing whatever happens, and one source only."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import SettingsError
from ecommerce_platform.warehouse.connection import Warehouse, let_go

HOLD = """
import duckdb, sys, time
con = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(float(sys.argv[2]))
con.close()
"""


def warehouse(tmp_path: Path, source: str = "tiny") -> Warehouse:
    config = {"memory_limit": "1GB", "threads": 2, "temp_directory": str(tmp_path / "tmp")}
    return Warehouse(tmp_path / "warehouse.duckdb", source, config)


def test_a_locked_warehouse_is_waited_for_and_the_holder_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with warehouse(tmp_path).connect() as con:
        con.execute("create table t as select 1 as a")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "warehouse.duckdb"), "1.5"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    started, used = time.monotonic(), time.process_time()
    with caplog.at_level(logging.INFO), warehouse(tmp_path).connect() as con:
        assert con.execute("select a from t").fetchall() == [(1,)]
    assert time.monotonic() - started > 0.8
    assert time.process_time() - used < 0.5, "waiting must not spin"
    assert f"process {holder.pid}" in caplog.text
    assert "python" in caplog.text
    holder.wait()


def test_an_error_while_connected_frees_the_file(tmp_path: Path) -> None:
    with pytest.raises(duckdb.Error), warehouse(tmp_path).connect() as con:
        con.execute("select * from nothing")
    done = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path / "warehouse.duckdb"), "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_configured_limits_hold_on_every_connection(tmp_path: Path) -> None:
    for _ in range(2):
        with warehouse(tmp_path).connect() as con:
            found = con.execute(
                "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
            ).fetchone()
            assert found == ("953.6 MiB", 2, str(tmp_path / "tmp"))


def test_memory_that_a_warehouse_lets_go_of_is_free_and_its_limit_stays(tmp_path: Path) -> None:
    def held() -> int:
        return int(con.execute("select sum(memory_usage_bytes) from duckdb_memory()").fetchall()[0][0])

    ours = warehouse(tmp_path)
    with ours.connect() as con:
        con.execute("create table t as select uuid() as a from range(10_000_000)")
    with ours.kept_open(), ours.connect() as con:
        con.execute("select max(a) from t").fetchall()
        limit = con.execute("select current_setting('memory_limit')").fetchall()
        assert held() > 100e6
        for _ in range(3):
            let_go(con)
        assert held() < 70e6
        assert con.execute("select current_setting('memory_limit')").fetchall() == limit
        assert con.execute("select count(*) from t").fetchall() == [(10_000_000,)]


def test_another_sources_warehouse_is_refused_with_the_variables_to_set(tmp_path: Path) -> None:
    with warehouse(tmp_path).connect():
        pass
    with pytest.raises(SettingsError) as error, warehouse(tmp_path, "other").connect():
        pass
    assert "holds the source 'tiny', not 'other'" in str(error.value)
    assert "ECOMMERCE_DATA_DIR" in str(error.value)
    assert "ECOMMERCE_SOURCE=tiny" in str(error.value)


def test_a_file_that_is_no_warehouse_is_named(tmp_path: Path) -> None:
    (tmp_path / "warehouse.duckdb").write_bytes(b"this is not a database" * 1000)
    with pytest.raises(SettingsError, match=r"warehouse\.duckdb.*cannot be opened"), warehouse(tmp_path).connect():
        pass


def test_a_folder_that_may_not_be_written_is_named_and_nothing_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)  # anything that DuckDB refuses: root may write everywhere
    with pytest.raises(SettingsError, match="The warehouse is damaged"), Warehouse(path, "mine").connect():
        pass
    monkeypatch.setattr("ecommerce_platform.warehouse.connection.os.access", lambda place, how: Path(place) == path)
    with pytest.raises(SettingsError, match="nothing is damaged") as refused, Warehouse(path, "mine").connect():
        pass
    assert str(path.parent) in str(refused.value)
    assert "chown" in str(refused.value)
    monkeypatch.undo()

    def read_only(self: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(SettingsError, match="nothing may be written there"), Warehouse(path, "mine").connect():
        pass


WAIT = """
import sys, time
from pathlib import Path
from ecommerce_platform.warehouse.connection import Warehouse
print("start", flush=True)
with Warehouse(Path(sys.argv[1]), "tiny").connect() as con:
    print(con.execute("select count(*) from t").fetchall()[0][0], flush=True)
"""


def test_a_file_that_is_kept_open_is_opened_once_and_temporary_tables_end_with_each_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
    with warehouse(tmp_path).kept_open():
        for _ in range(3):
            with warehouse(tmp_path).connect() as con:
                con.execute("create temp table mine as select 1 as a")
        assert len(opened) == 1
    with connect(str(tmp_path / "warehouse.duckdb")) as con:  # free again, for a connection with other settings
        assert con.execute("select source from warehouse_info").fetchall() == [("tiny",)]


def test_a_file_that_is_kept_open_is_given_to_another_process_that_waits_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with warehouse(tmp_path).kept_open():
        with warehouse(tmp_path).connect() as con:
            con.execute("create table t as select range as a from range(3)")
        waiter = subprocess.Popen([sys.executable, "-c", WAIT, str(path)], stdout=subprocess.PIPE, text=True)
        # Nothing of this process uses the file meanwhile.
        assert waiter.communicate(timeout=60)[0] == "start\n3\n"
        with warehouse(tmp_path).connect() as con:
            con.execute("insert into t values (9)")
            waiter = subprocess.Popen([sys.executable, "-c", WAIT, str(path)], stdout=subprocess.PIPE, text=True)
            assert waiter.stdout is not None
            assert waiter.stdout.readline() == "start\n"
            until = time.monotonic() + 60
            while not path.with_name("warehouse.duckdb.waiting").exists() and time.monotonic() < until:
                time.sleep(0.01)
        with warehouse(tmp_path).connect() as con:
            assert con.execute("select count(*) from t").fetchall() == [(4,)]
        assert waiter.communicate(timeout=60)[0] == "4\n"
