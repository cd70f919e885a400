"""The real export lands and loads row for row."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import duckdb

from ecommerce_platform.contracts.source import find_source, read_source
from ecommerce_platform.ingestion.bronze import load_bronze, pending_days
from ecommerce_platform.ingestion.landing import land, list_drops

DAY = date(2018, 10, 17)


def test_bronze_holds_every_record_of_every_file(test_data: Path, tmp_path: Path):
    manifest = {
        row["file"]: int(row["rows"])
        for row in csv.DictReader((test_data / "olist" / "MANIFEST.csv").open())
        if row["rows"] and "/" not in row["file"]
    }
    entities = {path.name.split(".")[0] for path in find_source("olist").glob("*.sql")}
    olist = read_source(find_source("olist"), sorted(entities))
    landed = land(test_data / "olist", olist, tmp_path / "raw", DAY, date.today())
    assert set(landed.landed) >= set(manifest)
    drops = list_drops(tmp_path / "raw", olist)
    found = {}
    with duckdb.connect(str(tmp_path / "olist.duckdb"), config={"memory_limit": "1GB", "threads": 2}) as con:
        for raw_table, files in drops.tables.items():
            days = pending_days(con, olist, raw_table, files)
            load = load_bronze(
                con, olist, raw_table, files, days, expected=[], required={}, scratch=tmp_path / "scratch"
            )
            assert load.problems == []
            assert load.rows_rejected == 0
            found |= {file.name: file.rows for file in load.files}
            count, distinct = con.execute(
                f"select count(*), count(distinct (_source_file, _source_row)) from {load.table}"
            ).fetchone() or (0, 0)
            assert count == distinct == load.rows_inserted
        reviews = con.execute(
            "select count(*) filter (contains(review_comment_message, chr(13) || chr(10))) from bronze.olist__order_reviews"
        ).fetchone()
    assert {name: found[name] for name in manifest} == manifest
    assert found["olist_orders_dataset.csv"] == 99_441
    assert found["olist_geolocation_dataset.csv"] == 1_000_163
    assert found["product_category_name_translation.csv"] == 71
    assert reviews is not None
    assert reviews[0] > 3_000
