"""Snapshots lose what is the person's, whatever contracts say by now; made by hand, so that each claim is small."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.disk import fingerprint
from ecommerce_platform.forgetting.ledger import Journal
from ecommerce_platform.forgetting.published import Wanted, clean_mirror, clean_snapshots
from ecommerce_platform.reading.snapshots import Verified, verify
from ecommerce_platform_tests.objectstores import Bucket

NAME = "20240101T000000000000Z"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog()


def snapshot(
    published: Path, tables: Mapping[str, str], hashed: Mapping[str, list[str]], hash_key: str | None = None
) -> Path:
    """A snapshot of these tables, each a SELECT."""
    folder = published / "snapshots" / NAME
    entries: dict[str, Any] = {}
    with duckdb.connect() as con:
        for table, select in tables.items():
            path = folder / f"{table.replace('.', '/')}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            con.execute(f"copy ({select}) to '{path}' (format parquet)")
            columns = {n: t for n, t, *_ in con.execute(f"describe {select}").fetchall()}
            entries[table] = {
                "file": str(path.relative_to(folder)), "columns": columns, "hashed": hashed.get(table, []),
                "bytes": path.stat().st_size, "rows": 2,
            }  # fmt: skip
    (folder / "manifest.json").write_text(
        json.dumps({"format": 1, "snapshot": NAME, "hash_key": hash_key, "tables": entries})
    )
    return folder


def rows(folder: Path, table: str) -> list[tuple]:
    with duckdb.connect() as con:
        return con.execute(f"from read_parquet('{folder}/{table.replace('.', '/')}.parquet') order by all").fetchall()


def test_what_was_published_hashed_goes_though_no_contract_says_so_any_more(tmp_path: Path, catalog: Catalog) -> None:
    folder = snapshot(
        tmp_path,
        {
            # The contract of today has no such column, and says of the town that it is nobody's.
            "silver.customers": "select unnest(['a', 'b']) as customer_id, unnest(['h1', 'h2']) as tax_number, "
            "unnest(['h3', 'h4']) as city, unnest(['50667', '53111']) as postal_code",
            "gold.dim_member": "select unnest(['a', 'b']) as customer_id, unnest(['h1', 'h2']) as nickname, 1 as visits",
            "silver.letters": "select unnest(['o1', 'o2']) as order_id, unnest(['h1', 'h2']) as body",
            "silver.notes": "select unnest(['h1', 'h2']) as body",
        },
        {
            "silver.customers": ["tax_number", "city"], "gold.dim_member": ["nickname"], "silver.letters": ["body"],
            "silver.notes": ["body"],
        },
    )  # fmt: skip
    wanted = Wanted(catalog, Journal(customer_ids={"a"}, order_ids={"o1"}), {})
    found = clean_snapshots(tmp_path, wanted, dry=True)
    assert found.rows == {"silver.customers": 1, "gold.dim_member": 1, "silver.letters": 1}
    assert rows(folder, "silver.customers")[0] == ("a", "h1", "h3", "50667")
    clean_snapshots(tmp_path, wanted)
    assert rows(folder, "silver.customers") == [("a", None, None, "50667"), ("b", "h2", "h4", "53111")]
    assert rows(folder, "gold.dim_member") == [("a", None, 1), ("b", "h2", 1)]
    assert rows(folder, "silver.letters") == [("o1", None), ("o2", "h2")]
    assert rows(folder, "silver.notes") == [("h1",), ("h2",)], "nothing says whose they are"
    assert clean_snapshots(tmp_path, wanted).files == 0


def test_figures_of_what_she_wrote_and_where_she_lives_go_from_profiles(tmp_path: Path, catalog: Catalog) -> None:
    load = "date '2024-01-01' + unnest([0, 0, 0, 1]) as _load_date"
    who = "'customers' as entity, 'web' as _raw_table, unnest(['latitude', 'city', 'email', 'latitude']) as column_name"
    folder = snapshot(
        tmp_path,
        {
            "gold.table_profiles": f"select {who}, {load}, 9 as nulls, 50.5 as minimum, 'x' as top_values",
            "gold.profile_drift": f"select {who}, {load}, 3 as value, "
            "unnest(['new_values', 'new_values', 'new_values', 'nulls']) as measure, 'values never seen before' as explanation",
        },
        {},
    )
    wanted = Wanted(catalog, Journal(records={("web", "2024-01-01", "web.csv", 1)}), {})
    assert clean_snapshots(tmp_path, wanted, dry=True).rows == {"gold.table_profiles": 1, "gold.profile_drift": 1}
    clean_snapshots(tmp_path, wanted)
    assert [row[2:] for row in rows(folder, "gold.table_profiles")] == [
        ("city", date(2024, 1, 1), 9, Decimal("50.5"), "x"), ("email", date(2024, 1, 1), 9, Decimal("50.5"), "x"),
        ("latitude", date(2024, 1, 1), 9, None, None), ("latitude", date(2024, 1, 2), 9, Decimal("50.5"), "x"),
    ]  # fmt: skip
    assert [(row[2], row[-1]) for row in rows(folder, "gold.profile_drift")] == [
        ("city", "values never seen before"), ("email", "values never seen before"), ("latitude", None),
        ("latitude", "values never seen before"),
    ]  # fmt: skip
    assert clean_snapshots(tmp_path, wanted).files == 0


@pytest.mark.parametrize(
    ("hash_key", "left"),
    [
        ("mine", [("dirty", 1, "h3", "no date"), ("dirty", 2, None, "forgotten"), ("other", 1, "h2", "no date")]),
        # Hashes that were made with another key tell nothing, so that the place has to.
        ("old", [("dirty", 1, None, "forgotten"), ("dirty", 2, None, "forgotten"), ("other", 1, "h2", "no date")]),
    ],
)
def test_a_rejected_row_of_somebody_else_at_the_place_of_hers_stays(
    tmp_path: Path, catalog: Catalog, hash_key: str, left: list[tuple]
) -> None:
    folder = snapshot(
        tmp_path,
        {
            "silver.rejects": "select 'customers' as entity, unnest(['dirty', 'other', 'dirty']) as _raw_table, "
            "date '2024-01-01' as _load_date, 'f.csv' as _source_file, unnest([2, 1, 1]) as _source_row, "
            "unnest(['h1', 'h2', 'h3']) as raw_row, 'no date' as reason"
        },
        {"silver.rejects": ["raw_row"]},
        hash_key,
    )
    journal = Journal(
        records={("dirty", "2024-01-01", "f.csv", 1), ("dirty", "2024-01-01", "f.csv", 2)}, rejected={"h1", "h2"}
    )
    clean_snapshots(tmp_path, Wanted(catalog, journal, {}, hash_key="mine"))
    assert [(row[1], *row[4:]) for row in rows(folder, "silver.rejects")] == left


def hashed_snapshot(published: Path) -> Path:
    """A snapshot of two customers with the hash of its file, as `publish` writes it."""
    select = "select unnest(['a', 'b']) as customer_id, unnest(['h1', 'h2']) as email"
    folder = snapshot(published, {"silver.customers": select}, {"silver.customers": ["email"]})
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["tables"].values():
        entry["sha256"] = fingerprint(folder / entry["file"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_the_manifest_has_the_hash_of_the_file_without_her(tmp_path: Path, catalog: Catalog) -> None:
    folder = hashed_snapshot(tmp_path)
    file = folder / "silver" / "customers.parquet"
    for path in (file, folder / "manifest.json"):
        path.chmod(0o640)
    clean_snapshots(tmp_path, Wanted(catalog, Journal(customer_ids={"a"}), {}))
    assert rows(folder, "silver.customers") == [("a", None), ("b", "h2")]
    assert verify(folder) == Verified({}, ())
    assert {stat.S_IMODE(path.stat().st_mode) for path in (file, folder / "manifest.json")} == {0o640}


def test_what_is_in_clear_beside_the_tables_goes_too(tmp_path: Path, catalog: Catalog) -> None:
    people = (
        "select unnest(['a', 'b']) as person_id, unnest(['Ada', 'Bob']) as full_name, unnest(['a@x', null]) as email"
    )
    folder = snapshot(tmp_path, {"gold.dim_customer": people, "restricted.dim_customer": people}, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["tables"].pop("restricted.dim_customer")
    entry = {k: entry[k] for k in ("file", "bytes")} | {"key": ["person_id"], "columns": ["full_name", "email"]}
    manifest["restricted"] = {"gold.dim_customer": entry | {"sha256": fingerprint(folder / entry["file"])}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    clean_snapshots(tmp_path, Wanted(catalog, Journal(person_ids={"a"}), {}))
    assert rows(folder, "restricted.dim_customer") == [("a", None, None), ("b", "Bob", None)]
    assert verify(folder).damaged == {}


def test_a_kill_between_hash_and_file_leaves_what_is_named_and_done_again(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, wanted = hashed_snapshot(tmp_path), Wanted(catalog, Journal(customer_ids={"a"}), {})

    def killed(old: Path, new: Path) -> None:
        if Path(new).suffix == ".parquet":
            raise KeyboardInterrupt
        replace(old, new)

    replace = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            clean_snapshots(tmp_path, wanted)
    assert rows(folder, "silver.customers")[0] == ("a", "h1")
    assert set(verify(folder).damaged) == {"silver.customers"}, "never a file that passes for another"
    clean_snapshots(tmp_path, wanted)
    assert rows(folder, "silver.customers")[0] == ("a", None)
    assert verify(folder) == Verified({}, ())


def test_a_damaged_file_does_not_pass_for_whole_because_somebody_is_forgotten(tmp_path: Path, catalog: Catalog) -> None:
    folder = hashed_snapshot(tmp_path)
    with duckdb.connect() as con:  # other values than were published
        con.execute(
            f"copy (select unnest(['a', 'b']) as customer_id, unnest(['h1', 'x2']) as email) "
            f"to '{folder}/silver/customers.parquet' (format parquet)"
        )
    clean_snapshots(tmp_path, Wanted(catalog, Journal(customer_ids={"a"}), {}))
    assert rows(folder, "silver.customers")[0] == ("a", None)
    assert set(verify(folder).damaged) == {"silver.customers"}


def test_what_a_killed_publish_has_left_goes(tmp_path: Path, catalog: Catalog) -> None:
    folder = snapshot(tmp_path, {"silver.customers": "select 'b' as customer_id"}, {})
    for name in (".building-999999999", f".removing-{NAME}"):
        left = folder.with_name(name) / "silver"
        left.mkdir(parents=True)
        (left / "customers.parquet").write_bytes(b"PAR1 somebody's hash")
    wanted = Wanted(catalog, Journal(customer_ids={"a"}), {})
    clean_snapshots(tmp_path, wanted, dry=True)
    assert len(list(folder.parent.iterdir())) == 3
    clean_snapshots(tmp_path, wanted)
    assert [f.name for f in folder.parent.iterdir()] == [NAME]


@pytest.mark.long
@pytest.mark.servers
def test_what_a_killed_mirror_has_left_goes(bucket: Bucket, tmp_path: Path, catalog: Catalog) -> None:
    whole, half = f"snapshots/{NAME}", "snapshots/20240102T000000000000Z"
    for name in (f"{whole}/manifest.json", f"{half}/silver/customers.parquet", "current.json"):
        bucket.put(f"published/{name}", b"{}")
    wanted = Wanted(catalog, Journal(customer_ids={"a"}), {})
    clean_mirror(tmp_path, f"{bucket.url}/published", wanted, tmp_path, dry=True)
    assert len(bucket.names()) == 3
    clean_mirror(tmp_path, f"{bucket.url}/published", wanted, tmp_path)
    assert sorted(bucket.names()) == ["published/current.json", f"published/{whole}/manifest.json"]
