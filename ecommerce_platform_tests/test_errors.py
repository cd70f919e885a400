"""What errors of the machine mean to the user."""

from __future__ import annotations

import errno

import duckdb
import pytest

from ecommerce_platform.errors import InputError, PassingError, SettingsError, understood


def test_a_full_disk_is_explained_wherever_it_is_met() -> None:
    of_the_system = understood(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    of_the_database = understood(duckdb.IOException('IO Error: Could not write file "w.wal": No space left on device'))
    for error in (of_the_system, of_the_database):
        assert isinstance(error, PassingError)
        assert "the disk is full" in str(error)
        assert "ECOMMERCE_DATA_DIR" in str(error)
    assert str(of_the_system).startswith("/data/x: ")


def test_a_query_that_needs_more_memory_names_the_setting() -> None:
    con = duckdb.connect(config={"memory_limit": "20MB", "temp_directory": ""})
    with pytest.raises(duckdb.OutOfMemoryException) as raised:
        con.execute("create table t as select i, random() as r from range(20_000_000) as t(i) order by r").fetchall()
    assert "ECOMMERCE_MEMORY_LIMIT" in str(understood(raised.value))


def test_a_damaged_warehouse_is_told_from_a_bug() -> None:
    assert isinstance(understood(duckdb.Error("Corrupt database file: computed checksum …")), SettingsError)
    assert understood(duckdb.BinderException("no such column")) is None
    assert understood(OSError(errno.EACCES, "denied")) is None
    own = InputError("x")
    assert understood(own) is own
