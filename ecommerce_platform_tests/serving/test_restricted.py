"""What is personal is published in clear for its owner alone, costs nothing when nothing changed, and is read one row at a time."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest, verify
from ecommerce_platform.serving.read.reader import Reader
from ecommerce_platform.serving.read.restricted import in_clear
from ecommerce_platform_tests.serving.shop import Served

TABLE = "gold.dim_customer"


def test_it_is_its_owners_alone_and_is_verified(served: Served) -> None:
    folder = current_snapshot(served.published)
    entry = read_manifest(folder)["restricted"][TABLE]
    file = folder / entry["file"]
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 or stat.S_IMODE(file.parent.stat().st_mode) & 0o077 == 0
    assert verify(folder).damaged == {}


def test_an_unchanged_one_is_linked(served: Served) -> None:
    before = current_snapshot(served.published)
    served.publish(even_unchanged=True)
    after = current_snapshot(served.published)
    files = [folder / read_manifest(folder)["restricted"][TABLE]["file"] for folder in (before, after)]
    assert before != after
    assert files[0].stat().st_ino == files[1].stat().st_ino


def test_each_person_is_found_and_nobody_else(served: Served) -> None:
    with served.connect() as con:
        stored = con.execute(f"select person_id, full_name, email, phone from {TABLE} order by 1").fetchall()
    with served.reader.view() as view:
        for person, name, email, phone in (stored[0], stored[-1]):
            found = in_clear(view, TABLE, person)
            assert (found["full_name"], found["email"], found["phone"]) == (name, email, phone)
        assert in_clear(view, TABLE, "x' or '1'='1") == {}
        with pytest.raises(InputError, match="in clear"):
            in_clear(view, "gold.kpi_monthly", "x")


def test_a_damaged_one_is_named(served: Served, tmp_path: Path) -> None:
    shutil.copytree(served.published, tmp_path / "published", symlinks=True)
    folder = current_snapshot(tmp_path / "published")
    file = folder / read_manifest(folder)["restricted"][TABLE]["file"]
    file.write_bytes(b"not parquet")
    assert set(verify(folder).damaged) == {TABLE}
    with Reader(tmp_path / "published").view() as view, pytest.raises(InputError, match="cannot be read"):
        in_clear(view, TABLE, "x")


def test_tables_that_are_looked_up_by_key_lie_sorted(served: Served) -> None:
    folder = current_snapshot(served.published)
    with duckdb.connect() as con:
        for table, key in ((TABLE, "person_id"), ("gold.dim_product", "product_id")):
            file = folder / read_manifest(folder)["tables"][table]["file"]
            found = [k for (k,) in con.execute(f"select {key} from read_parquet('{file}')").fetchall()]
            assert found == sorted(found)
            assert len(found) > 10
