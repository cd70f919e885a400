"""Queries of readers: they see the snapshot's tables, and nothing in them reads, writes or leaves it."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.errors import InputError
from ecommerce_platform.reading.query import LONGEST, ask
from ecommerce_platform.reading.snapshots import open_snapshot
from ecommerce_platform_tests.reading.hostile import HOSTILE, SECRET, everything
from ecommerce_platform_tests.warehouse.published import SUMMARY, PublishingShop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> PublishingShop:
    """Two snapshots of 3 and 4 customers; beside them what no query may see."""
    shop = PublishingShop(tmp_path_factory.mktemp("shop"))
    shop.publish(now=datetime(2024, 1, 1, tzinfo=UTC))
    shop.write(4)
    shop.publish(now=datetime(2024, 1, 2, tzinfo=UTC), hash_key=SECRET)
    (shop.published / ".hash_key").write_text(SECRET)
    restricted = shop.published / "restricted"
    restricted.mkdir()
    (restricted / "customers.csv").write_text(SECRET)
    return shop


def answer(folder: Path, sql: str, seconds: float = 20.0, **config: Any) -> list[tuple[Any, ...]]:
    with closing(open_snapshot(folder, config)) as con, ask(con, sql, seconds=seconds) as rows:
        return rows.fetch(1_000)


def newest(shop: PublishingShop) -> Path:
    return (shop.published / "current").resolve()


@pytest.mark.parametrize("sql", HOSTILE)
def test_nothing_hostile_reads_writes_or_leaves_the_snapshot(
    shop: PublishingShop, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.folder)
    before = everything(shop.folder)
    for secret in (shop.published / ".hash_key", shop.published / "restricted" / "customers.csv"):
        names = {
            "secret": secret,
            "folder": shop.published,
            "database": shop.warehouse.path,
            "out": shop.folder / "out",
        }
        with pytest.raises(InputError) as refused:
            answer(newest(shop), sql.format(**names))
        assert SECRET not in str(refused.value)
    assert everything(shop.folder) == before


@pytest.mark.parametrize("options", ["", "(use_tmp_file false)", "(format parquet, use_tmp_file false)"])
def test_copy_does_not_write_over_a_file_that_may_be_read(shop: PublishingShop, options: str) -> None:
    before = everything(shop.folder)
    file = newest(shop) / "gold" / "kpi_summary.parquet"
    for sql in (f"copy (select 1) to '{file}' {options}", f"select 1; copy (select 1) to '{file}' {options}"):
        with pytest.raises(InputError, match="exactly one SELECT"):
            answer(newest(shop), sql)
    assert everything(shop.folder) == before


def test_only_the_snapshots_own_files_can_be_opened(shop: PublishingShop) -> None:
    other = next(f for f in sorted((shop.published / "snapshots").iterdir()) if f != newest(shop))
    own = newest(shop) / "gold" / "kpi_summary.parquet"
    assert answer(newest(shop), f"select customers from '{own}'") == [(4,)]
    for file in (
        other / "gold" / "kpi_summary.parquet",
        newest(shop) / "manifest.json",
        newest(shop) / "gold" / "*.parquet",
    ):
        with pytest.raises(InputError, match="nothing else"):
            answer(newest(shop), f"select * from read_text('{file}')")


def test_a_python_connection_is_closed_in_as_well(shop: PublishingShop) -> None:
    with closing(open_snapshot(newest(shop))) as con:
        with pytest.raises(duckdb.PermissionException):
            con.execute(f"select * from read_text('{shop.published / '.hash_key'}')")
        with pytest.raises(duckdb.InvalidInputException, match="locked"):
            con.execute("set threads = 2")
        with pytest.raises(duckdb.PermissionException):
            con.execute(f"attach '{shop.warehouse.path}' as warehouse (read_only)")


@pytest.mark.parametrize(
    "sql",
    [
        "select customers from gold.kpi_summary",
        " ; select customers from gold.kpi_summary ;; ",
        "-- how many\nselect customers from gold.kpi_summary -- customers",
        "(select customers from gold.kpi_summary)",
        "from gold.kpi_summary select customers",
        "with a as (select customers from gold.kpi_summary) select * from a",
        "select count(*) from silver.customers",
    ],
)
def test_a_select_is_answered_however_it_is_written(shop: PublishingShop, sql: str) -> None:
    assert answer(newest(shop), sql) == [(4,)]


def test_tables_can_be_described(shop: PublishingShop) -> None:
    assert ("customers", "BIGINT") in {row[:2] for row in answer(newest(shop), f"describe {SUMMARY}")}
    assert "customers" in {row[0] for row in answer(newest(shop), f"summarize {SUMMARY}")}


def test_a_pivot_without_its_values_is_told_how_to_be_written(shop: PublishingShop) -> None:
    with pytest.raises(InputError, match=r"pivot … on … in"):
        answer(newest(shop), "pivot silver.labels on code using count(*)")


def test_columns_types_and_rows_in_parts(shop: PublishingShop) -> None:
    con = open_snapshot(newest(shop))
    with closing(con), ask(con, "select i, i::varchar as text from range(5) as t (i)", seconds=20) as rows:
        assert (rows.columns, rows.types) == (("i", "text"), ("BIGINT", "VARCHAR"))
        assert [rows.fetch(3), rows.fetch(3), rows.fetch(3)] == [
            [(0, "0"), (1, "1"), (2, "2")], [(3, "3"), (4, "4")], [],
        ]  # fmt: skip


def test_a_connection_can_be_asked_again_after_a_refusal(shop: PublishingShop) -> None:
    with closing(open_snapshot(newest(shop))) as con:
        for _ in range(2):
            with pytest.raises(InputError), ask(con, "select nonsense", seconds=20):
                pass
            with ask(con, "select 1", seconds=20) as rows:
                assert rows.fetch(5) == [(1,)]


def test_a_query_without_end_is_stopped(shop: PublishingShop) -> None:
    with pytest.raises(InputError, match=r"stopped after 0.3 s") as stopped:
        answer(newest(shop), "select count(*) from range(1000000000) a, range(1000000000) b", seconds=0.3)
    assert stopped.value.where == "ECOMMERCE_QUERY_SECONDS"


def test_the_time_counts_while_rows_are_fetched(shop: PublishingShop) -> None:
    con = open_snapshot(newest(shop))
    with closing(con), ask(con, "select * from range(1000000000)", seconds=0.3) as rows:
        assert rows.fetch(1) == [(0,)]
        time.sleep(0.5)
        with pytest.raises(InputError, match="stopped after"):
            rows.fetch(1)


def test_a_query_that_does_not_listen_is_given_up(shop: PublishingShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecommerce_platform.reading.query.GRACE", 0.2)
    given_up: list[bool] = []
    con = open_snapshot(newest(shop))
    with closing(con), ask(con, "select 1", seconds=0.1, stuck=lambda: given_up.append(True)):
        time.sleep(1.0)
    assert given_up


def test_a_query_gets_no_more_memory_than_it_may(shop: PublishingShop) -> None:
    with pytest.raises(InputError, match="more memory") as refused:
        answer(newest(shop), "select length(list(i)) from range(1000000000) as t (i)", memory_limit="100MB", threads=1)
    assert refused.value.where == "ECOMMERCE_MEMORY_LIMIT"


def test_what_does_not_fit_is_spilled_where_that_is_allowed(shop: PublishingShop, tmp_path: Path) -> None:
    sql = "select max(hash(i)) > 0 from (select * from range(3000000) as t (i) order by hash(i) limit 2900000)"
    assert answer(
        newest(shop), sql, memory_limit="40MB", threads=1, temp_directory=str(tmp_path / "spill"), seconds=120
    ) == [(True,)]


def test_an_oversized_query_is_not_looked_at(shop: PublishingShop) -> None:
    with pytest.raises(InputError, match="characters"):
        answer(newest(shop), f"select 1 -- {'x' * LONGEST}")
