"""A build of loads that lie apart is a run each, and what comes after one that failed waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_platform.operations.builds import run_build
from ecommerce_platform.orchestration.resources import open_warehouse
from ecommerce_platform.settings import read_settings
from ecommerce_platform.warehouse.lookup import table_exists

SOURCE_YML = """description: A shop made for a test.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
tables:
  orders:
    files: ["orders*.csv"]
    description: One row per order.
    columns: [id, placed]
    on_drift: {missing: fail}
"""
MAPPING = """select as_text(id) as order_id, as_timestamp(placed) as ordered_at, 'delivered' as status, true as is_valid
from bronze.apart__orders
"""


def test_loads_after_one_that_failed_wait_until_that_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart" / "source.yml").write_text(SOURCE_YML)
    (tmp_path / "apart" / "orders.orders.sql").write_text(MAPPING)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    settings = read_settings(source=str(tmp_path / "apart"), data_dir=tmp_path / "data", threads=1)
    bad, good = (tmp_path / "data" / "raw" / day / "orders.csv" for day in ("2024-01-02", "2024-02-20"))
    for file, text in ((bad, "id\n1\n"), (good, "id,placed\n2,2024-02-20\n")):
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert run_build(settings, "key:bronze/apart__orders").failed
    bad.write_text("id,placed\n1,2024-01-02\n")
    with open_warehouse(settings).connect() as con:
        assert not table_exists(con, "bronze", "files"), "the later range was not begun"
    assert not run_build(settings, "key:bronze/apart__orders").failed
    with open_warehouse(settings).connect() as con:
        assert con.execute("select id from bronze.apart__orders order by 1").fetchall() == [("1",), ("2",)]
