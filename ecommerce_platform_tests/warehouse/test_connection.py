"""The warehouse file: waiting instead of failing, closing whatever happens, and one source only."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import SettingsError
from ecommerce_platform.warehouse.connection import Warehouse

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
