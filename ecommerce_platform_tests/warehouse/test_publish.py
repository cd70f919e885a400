"""Publishing: one consistent snapshot, switched in one step, personal data hashed."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.errors import InputError, SettingsError
from ecommerce_platform.warehouse.publish import current_snapshot, open_snapshot, publish

CATALOG = read_catalog()


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")
    con.execute("create schema silver; create schema gold")
    for table in ("silver.customers", "gold.kpi_summary"):
        con.execute(create_table_sql(CATALOG.contract(table)))
    for number, email in ((1, "ann@example.org"), (2, "ann@example.org"), (3, None)):
        con.execute("insert into silver.customers (customer_id, email) values (?, ?)", [str(number), email])
    return con


def test_personal_data_is_hashed_and_equal_values_stay_equal(con, tmp_path: Path) -> None:
    publish(con, CATALOG, tmp_path / "published", "tiny")
    read = open_snapshot(current_snapshot(tmp_path / "published"))
    (first, second, third) = read.execute("select email from silver.customers order by customer_id").fetchall()
    assert first == second
    assert len(first[0]) == 64
    assert third == (None,)
    files = b"".join(p.read_bytes() for p in (tmp_path / "published").rglob("*.parquet"))
    assert b"ann@example.org" not in files


def test_the_hash_key_is_the_owners_alone_and_differs_between_installations(con, tmp_path: Path) -> None:
    hashes = []
    for name in ("a", "b"):
        publish(con, CATALOG, tmp_path / name, "tiny")
        assert stat.S_IMODE((tmp_path / name / ".hash_key").stat().st_mode) == 0o600
        read = open_snapshot(current_snapshot(tmp_path / name))
        hashes.append(read.execute("select max(email) from silver.customers").fetchone())
    assert hashes[0] != hashes[1]


def test_a_reader_keeps_its_snapshot_while_a_new_one_is_published(con, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    publish(con, CATALOG, folder, "tiny", now=datetime(2024, 1, 1, tzinfo=UTC))
    reader = open_snapshot(current_snapshot(folder))
    con.execute("delete from silver.customers")
    second = publish(con, CATALOG, folder, "tiny", now=datetime(2024, 1, 2, tzinfo=UTC))
    assert reader.execute("select count(*) from silver.customers").fetchone() == (3,)
    assert open_snapshot(current_snapshot(folder)).execute("select count(*) from silver.customers").fetchone() == (0,)
    assert current_snapshot(folder) == second.folder.resolve()


def test_the_manifest_says_what_is_in_the_snapshot(con, tmp_path: Path) -> None:
    snapshot = publish(con, CATALOG, tmp_path / "published", "tiny")
    manifest = json.loads((snapshot.folder / "manifest.json").read_text())
    assert manifest["source"] == "tiny"
    entry = manifest["tables"]["silver.customers"]
    assert (entry["rows"], entry["hashed"]) == (3, ["full_name", "email", "phone", "birth_date"])


def test_a_publish_that_dies_leaves_the_current_snapshot(con, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    first = publish(con, CATALOG, folder, "tiny")

    def interrupt(table: str, number: int, total: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(con, CATALOG, folder, "tiny", progress=interrupt)
    assert current_snapshot(folder) == first.folder.resolve()
    assert [p.name for p in (folder / "snapshots").iterdir()] == [first.id]


def test_nothing_to_publish_and_another_source_are_refused(con, tmp_path: Path) -> None:
    con.execute("drop schema gold cascade")
    with pytest.raises(InputError, match="nothing to publish yet"):
        publish(con, CATALOG, tmp_path / "published", "tiny")
    with pytest.raises(SettingsError, match="belongs to the source 'tiny'"):
        publish(con, CATALOG, tmp_path / "published", "other")
    with pytest.raises(InputError, match="nothing is published yet"):
        current_snapshot(tmp_path / "published")
