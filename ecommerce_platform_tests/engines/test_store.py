"""Versions of a table: a manifest or nothing, one winner, old ones gone in time; and copies of the warehouse's tables."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.contract import Column, Contract
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.engines.gold import mirror, taken_over
from ecommerce_platform.engines.store import Manifest, Part, Store, bucket_sql, buckets_for
from ecommerce_platform.errors import InputError, PassingError
from ecommerce_platform.warehouse.changes import record_change

NOW, NEVER = timedelta(0), timedelta(days=1)
CONTRACT = Contract(
    name="orders", layer="silver", path=Path("orders.yml"), description="Orders of a tiny shop.", grain="one row per order",
    key=("order_id",),
    columns={
        "order_id": Column(type="VARCHAR", description="Order."),
        "ordered_at": Column(type="TIMESTAMP", description="When it was placed."),
        "amount": Column(type="DECIMAL(18,4)", description="What it came to."),
    },
)  # fmt: skip


def write(store: Store, text: str, table: str = "gold.t") -> Manifest:
    """What a writer would commit: one staged file."""
    folder = store.stage(table)
    (folder / "_bucket=0").mkdir(parents=True)
    (folder / "_bucket=0" / "part.parquet").write_text(text)
    parts = {n: Part(names, 1) for n, names in store.staged(table, folder).items()}
    return Manifest(table, 0, {"a": "BIGINT"}, 1, parts)


def content(store: Store, table: str = "gold.t") -> list[str]:
    found = store.current(table)
    return [Path(name).read_text() for name in store.files(found)] if found else []


def test_a_version_is_there_from_its_manifest_on_and_says_what_it_holds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.current("gold.t") is None
    staged = write(store, "one")
    assert content(store) == []  # a job killed here has changed nothing
    first = store.commit(None, staged)
    assert (first.version, first.rows, content(store)) == (1, 1, ["one"])
    second = store.commit(first, write(store, "two"))
    assert store.current("gold.t") == second
    assert store.read("gold.t", 1) == first


def test_of_two_writers_one_loses_and_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    base = store.commit(None, write(store, "base"))
    mine, theirs = write(store, "mine"), write(store, "theirs")
    store.commit(base, theirs)
    with pytest.raises(PassingError, match=r"another run has written gold\.t"):
        store.commit(base, mine)
    assert content(store) == ["theirs"]
    assert store.versions("gold.t") == [1, 2]
    assert not [name for name in os.listdir(tmp_path / "gold" / "t" / "manifests") if name.startswith(".")]


def test_a_version_is_not_taken_twice_after_it_has_expired(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.commit(None, write(store, "1"))
    second = store.commit(first, write(store, "2"))
    store.commit(second, write(store, "3"))
    store.expire("gold.t", keep=1, readers=NOW)
    assert store.versions("gold.t") == [3]
    with pytest.raises(PassingError):
        store.commit(first, write(store, "late"))
    assert content(store) == ["3"]


def test_old_versions_go_and_files_that_a_kept_one_names_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.commit(None, write(store, "1"))
    both = write(store, "2")
    second = store.commit(
        first, Manifest(**{**vars(both), "buckets": 2, "parts": {0: first.parts[0], 1: both.parts[0]}})
    )
    third = store.commit(second, Manifest(**{**vars(second), "parts": {0: second.parts[0]}}))
    assert store.expire("gold.t", keep=1, readers=NEVER) == 0  # somebody may read them
    assert store.expire("gold.t", keep=1, readers=NOW) == 1
    assert (store.versions("gold.t"), content(store)) == ([third.version], ["1"])


def test_what_a_killed_job_has_staged_goes_after_a_day_and_what_is_being_staged_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(None, write(store, "1"))
    write(store, "lost")
    assert store.expire("gold.t") == 0
    assert store.expire("gold.t", writers=NOW) == 1
    assert content(store) == ["1"]


def test_a_damaged_manifest_is_named_with_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(None, write(store, "1"))
    path = tmp_path / "gold" / "t" / "manifests" / "00000001.json"
    path.write_text("{")
    with pytest.raises(InputError, match="manifest is damaged") as error:
        store.current("gold.t")
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("rows", "buckets"), [(0, 1), (500_000, 1), (500_001, 2), (3_000_000, 8), (10**12, 256)])
def test_a_table_gets_buckets_by_its_rows(rows: int, buckets: int) -> None:
    assert buckets_for(rows) == buckets


def warehouse(rows: int) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("create schema silver")
    con.execute(create_table_sql(CONTRACT))
    con.execute(
        "insert into silver.orders select 'o' || i, timestamp '2024-01-01' + to_seconds(i), i / 3 "
        f"from range({rows}) as r (i)"
    )
    record_change(con, CONTRACT.table)
    return con


def test_rows_lie_in_all_buckets(tmp_path: Path) -> None:
    con = warehouse(2000)
    found = con.execute(f"select {bucket_sql(CONTRACT, 8)} as b, count(*) from silver.orders group by b order by b")
    counts = dict(found.fetchall())
    assert list(counts) == list(range(8))
    assert min(counts.values()) > 150


def test_a_copy_holds_the_rows_and_is_not_made_again_for_the_same_version(tmp_path: Path) -> None:
    con, store = warehouse(100), Store(tmp_path)
    first = mirror(con, store, CONTRACT)
    assert first.rows == 100
    copied = con.execute(f"{taken_over(CONTRACT, store.files(first))} order by all").fetchall()
    assert copied == con.execute("select * from silver.orders order by all").fetchall()
    assert mirror(con, store, CONTRACT).version == first.version


def test_of_a_changed_table_only_buckets_with_changed_rows_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecommerce_platform.engines.store.ROWS_PER_BUCKET", 10)
    con, store = warehouse(120), Store(tmp_path)
    before = mirror(con, store, CONTRACT)
    assert before.buckets == 16
    con.execute("update silver.orders set amount = amount + 1 where order_id = 'o7'")
    record_change(con, CONTRACT.table)
    after = mirror(con, store, CONTRACT)
    bucket = con.execute(f"select {bucket_sql(CONTRACT, 16)} from silver.orders where order_id = 'o7'").fetchall()[0][0]
    assert {n for n in before.parts if before.parts[n].files != after.parts[n].files} == {bucket}
    copied = con.execute(f"{taken_over(CONTRACT, store.files(after))} order by all").fetchall()
    assert copied == con.execute("select * from silver.orders order by all").fetchall()


def test_rows_that_were_deleted_are_gone_from_the_copy(tmp_path: Path) -> None:
    con, store = warehouse(5), Store(tmp_path)
    mirror(con, store, CONTRACT)
    con.execute("delete from silver.orders")
    record_change(con, CONTRACT.table)
    emptied = mirror(con, store, CONTRACT)
    assert (emptied.rows, store.files(emptied)) == (0, [])
    assert con.execute(taken_over(CONTRACT, [])).fetchall() == []


def test_what_a_killed_commit_or_expiry_has_left_goes_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.commit(None, write(store, "1"))
    lost = Path(store.files(first)[0]).with_name("lost.parquet")
    lost.write_text("its version expired, and the job was killed then")
    draft = tmp_path / "gold" / "t" / "manifests" / ".0123456789abcdef"
    draft.write_text("{}")
    assert store.expire("gold.t") == 1
    assert draft.exists()  # a commit of today may be about to name it
    store.expire("gold.t", writers=NOW)
    assert not draft.exists()
    assert (store.tables(), content(store)) == (["gold.t"], ["1"])
