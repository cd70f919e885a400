"""Rejects by reason: groups, counts, origins and examples."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.quality.rejects import reject_groups, rejected_rows
from ecommerce_platform.settings import read_settings
from ecommerce_platform.silver.entities import load_entity
from ecommerce_platform_tests.warehouse.shop import TinyShop, day, deliver


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    shop: TinyShop = TinyShop(Path(tmp_path_factory.mktemp("sources")))
    con = shop.connect()
    deliver(
        con,
        "orders",
        day(0),
        [("1", "gestern", "created"), ("2", "2024-01-01", "lost"), (None, "2024-01-01", "created")],
    )
    deliver(con, "orders", day(1), [("4", "heute", "created"), ("5", "2024-01-02", "created")])
    load_entity(con, shop.catalog, shop.contracts["orders"], shop.compiled["orders"])
    con.execute(
        "insert into bronze.rejects (raw_table, _load_date, _source_file, reject_number, line, reason_code, reason, raw_text) "
        "values ('orders', date '2024-01-02', 'f.csv', 1, 7, 'column_count', 'has 2 values, not 3', 'x;y'), "
        "('orders', date '2024-01-02', 'g.csv', 1, null, 'unreadable_file', 'is a PDF', null)"
    )
    return con


def test_rejects_are_grouped_by_reason_and_column_with_the_newest_examples_first(con) -> None:
    groups = {(g.stage, g.reason_code, g.column): g for g in reject_groups(con)}
    assert {key: g.rows for key, g in groups.items()} == {
        ("silver.rejects", "not_convertible", "ordered_at"): 2,
        ("silver.rejects", "not_accepted", "status"): 1,
        ("silver.rejects", "missing_required", "order_id"): 1,
        ("bronze.rejects", "column_count", None): 1,
        ("bronze.rejects", "unreadable_file", None): 1,
    }
    times = groups[("silver.rejects", "not_convertible", "ordered_at")]
    assert (times.first_load, times.last_load) == (day(0), day(1))
    assert [origin for origin, _ in times.examples] == ["2024-01-02/f.csv record 1", "2024-01-01/f.csv record 1"]
    assert times.examples[0][1].startswith('ordered_at: placed "heute" is not a date or time')


def test_lines_and_files_say_where_they_are(con) -> None:
    origins = [row.origin for row in rejected_rows(con, load=day(1))]
    assert origins == ["2024-01-02/f.csv record 1", "2024-01-02/f.csv line 7", "2024-01-02/g.csv"]


def test_only_what_is_asked_for_is_shown(con) -> None:
    assert [r.raw for r in rejected_rows(con, reason_code="column_count")] == ["x;y"]
    assert [g.rows for g in reject_groups(con, target="orders", reason_code="not_convertible", load=day(0))] == [1]
    assert reject_groups(con, target="payments") == []


def test_before_anything_is_loaded_nothing_is_rejected() -> None:
    assert reject_groups(duckdb.connect()) == []
    assert rejected_rows(duckdb.connect()) == []


def test_reasons_do_not_repeat_personal_data(tmp_path: Path) -> None:
    """They are published in clear; the row as delivered is not."""
    project = read_project(read_settings(source="synthetic", data_dir=tmp_path))
    reasons = {
        (c.column, c.personal, "left(" in c.reason) for m in project.compiled["customers"] for c in m.conversions
    }
    assert ("birth_date", True, False) in reasons
    assert ("registered_at", False, True) in reasons
