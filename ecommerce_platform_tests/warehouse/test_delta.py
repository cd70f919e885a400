"""Delta tables of the published snapshot: the same rows, a version for what changed, and nothing personal besides."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest

from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.publishing import delta
from ecommerce_platform.publishing.delta import CURRENT, Copied, copy_to_delta
from ecommerce_platform_tests.leftout import leave_out
from ecommerce_platform_tests.warehouse.published import (
    CUSTOMERS,
    LABELS,
    SUMMARY,
    TABLES,
    PublishingShop,
    catalog,
    catalog_with,
)

NOW = timedelta(0)


@pytest.fixture
def tiny(tmp_path: Path) -> PublishingShop:
    if importlib.util.find_spec("deltalake") is None:
        leave_out("deltalake is not installed", "pip install 'ecommerce_platform[delta]' -c constraints.txt")
    return PublishingShop(tmp_path)


def publish(tiny: PublishingShop, customers: int | None = None, **options: Any) -> Copied:
    if customers is not None:
        tiny.write(customers)
    tiny.publish()
    return copy_to_delta(tiny.published, tiny.folder / "delta", **options)


def home(tiny: PublishingShop, table: str) -> Path:
    return tiny.folder.joinpath("delta", *table.split("."))


def told(tiny: PublishingShop) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tiny.folder / "delta" / CURRENT).read_text())
    return found


def rows(tiny: PublishingShop, table: str, version: int | None = None) -> int:
    return polars.scan_delta(str(home(tiny, table)), version=version).select(polars.len()).collect().item()


def test_every_table_holds_what_its_file_in_the_snapshot_holds(tiny: PublishingShop) -> None:
    snapshot = tiny.publish()
    done = copy_to_delta(tiny.published, tiny.folder / "delta")
    assert (done.snapshot, set(done.written), done.unchanged) == (snapshot.id, set(TABLES), ())
    for table in TABLES:
        theirs = polars.read_delta(str(home(tiny, table)))
        assert theirs.equals(polars.read_parquet(tiny.file(snapshot, table)))
        assert theirs.schema == polars.read_parquet(tiny.file(snapshot, table)).schema
    with duckdb.connect() as con, suppress(duckdb.Error):  # where it has its extension for them
        con.execute("load delta")
        assert con.execute(f"select count(*) from delta_scan('{home(tiny, CUSTOMERS)}')").fetchall() == [(3,)]


def test_only_what_changed_gets_a_version_and_earlier_versions_are_readable(tiny: PublishingShop) -> None:
    publish(tiny)
    first = told(tiny)["tables"]
    done = publish(tiny, 5)
    assert (set(done.written), done.unchanged) == ({CUSTOMERS, SUMMARY}, (LABELS,))
    now = told(tiny)["tables"]
    assert now[LABELS] == first[LABELS]
    assert now[CUSTOMERS] > first[CUSTOMERS]
    assert (rows(tiny, CUSTOMERS), rows(tiny, CUSTOMERS, first[CUSTOMERS])) == (5, 3)
    assert (publish(tiny).written, told(tiny)["tables"]) == ((), now)


def test_old_versions_expire(tiny: PublishingShop) -> None:
    for customers in (3, 4, 5, 6):
        publish(tiny, customers, keep=2, readers=NOW)
    assert len(list(home(tiny, CUSTOMERS).glob("*.parquet"))) == 2
    assert rows(tiny, CUSTOMERS) == 6
    publish(tiny, 7, keep=1)  # but not while somebody may read them
    assert len(list(home(tiny, CUSTOMERS).glob("*.parquet"))) == 3


def test_personal_columns_are_hashed_and_the_log_repeats_no_value(tiny: PublishingShop) -> None:
    snapshot = tiny.publish()
    (snapshot.folder / "restricted").mkdir(exist_ok=True)
    (snapshot.folder / "restricted" / "customers.parquet").write_bytes(b"in clear")
    copy_to_delta(tiny.published, tiny.folder / "delta")
    written = [path for path in (tiny.folder / "delta").rglob("*") if path.is_file()]
    assert not [path for path in written if "restricted" in path.parts or b"@example.org" in path.read_bytes()]
    hashes = polars.read_parquet(tiny.file(snapshot, CUSTOMERS))["email"]
    assert polars.read_delta(str(home(tiny, CUSTOMERS)))["email"].to_list() == hashes.to_list()
    for log in (home(tiny, CUSTOMERS) / "_delta_log").glob("*.json"):
        assert not [value for value in hashes if value in log.read_text()]


def test_forgetting_leaves_no_earlier_version_of_any_table(tiny: PublishingShop) -> None:
    publish(tiny)
    publish(tiny, 5)
    copy_to_delta(tiny.published, tiny.folder / "delta", forgetting=True)
    assert [len(list(home(tiny, table).glob("*.parquet"))) for table in TABLES] == [1, 1, 1]
    assert rows(tiny, CUSTOMERS) == 5


def test_what_a_killed_copy_has_left_is_finished_by_the_next(
    tiny: PublishingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tiny)
    before, write, count = told(tiny), delta._Table.write, 0

    def killed(*given: Any) -> None:
        nonlocal count
        if (count := count + 1) == 2:
            raise KeyboardInterrupt
        write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(delta._Table, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(tiny, 5)
    assert told(tiny) == before  # which names versions that are one state
    assert [rows(tiny, table, before["tables"][table]) for table in (CUSTOMERS, SUMMARY)] == [3, 1]
    (home(tiny, CUSTOMERS) / "part-lost.parquet").write_bytes(b"lost")
    assert len(publish(tiny, readers=NOW).written) == 1
    publish(tiny, 6, readers=NOW)
    assert rows(tiny, CUSTOMERS) == 6
    assert not (home(tiny, CUSTOMERS) / "part-lost.parquet").exists()


def test_a_column_more_and_a_table_less(tiny: PublishingShop) -> None:
    tiny = PublishingShop(tiny.folder / "four", tables=(*TABLES, "gold.kpi_daily"))
    publish(tiny)
    columns = catalog().contract(LABELS).model_dump()["columns"]
    more = catalog_with(LABELS, columns={**columns, "more": {"type": "INTEGER", "description": "More."}})
    with tiny.warehouse.connect() as con:
        con.execute(f"alter table {LABELS} add column more integer; drop table gold.kpi_daily")
        con.execute(
            f"update {LABELS} set more = 1; update changes.versions set version = 9 where table_name = '{LABELS}'"
        )
    tiny.publish(catalog=more, force=True)
    done = copy_to_delta(tiny.published, tiny.folder / "delta")
    assert (done.written, done.removed) == ((LABELS,), ("gold.kpi_daily",))
    assert polars.read_delta(str(home(tiny, LABELS)))["more"].to_list() == [1]
    assert not home(tiny, "gold.kpi_daily").exists()


def test_another_sources_folder_is_refused_and_so_is_a_damaged_file(tiny: PublishingShop) -> None:
    publish(tiny)
    other = PublishingShop(tiny.folder / "other", source="other")
    other.publish()
    with pytest.raises(SettingsError, match="set ECOMMERCE_DELTA_DIR to another folder"):
        copy_to_delta(other.published, tiny.folder / "delta")
    tiny.write(5)
    snapshot = tiny.publish()
    tiny.file(snapshot, CUSTOMERS).write_bytes(b"damaged")
    with pytest.raises(InputError, match="its content is not what was published"):
        copy_to_delta(tiny.published, tiny.folder / "delta")
    assert rows(tiny, CUSTOMERS) == 3


def test_without_deltalake_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"ECOMMERCE_DELTA_DIR: deltalake is not installed") as error:
        copy_to_delta(tmp_path, tmp_path / "delta")
    assert "ecommerce_platform[delta]" in str(error.value)
