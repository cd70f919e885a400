"""Exports that overlap and files that are there twice: however they are cut into drops, the tables are the same.

A shop exports its newest orders again and again; each export holds orders that the one before held, some of them changed
since. Files of one drop may overlap, and some of them come twice, under other names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random

import pytest

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.scaffold.check import check_source
from ecommerce_platform_tests.compare import differences_but_provenance
from ecommerce_platform_tests.driver import Driver

SOURCE_YML = """
description: A shop that exports its newest orders.
currency: EUR
time_zone: Europe/Berlin
start_date: 2024-01-01
units:
  order_items.lines: [order_id]
tables:
  orders: {files: ["orders*.csv"], description: Orders and their status., delivery: delta}
  lines: {files: ["lines*.csv"], description: Lines of orders., delivery: delta}
"""
ORDERS = """
select as_text(id) as order_id, as_text(person) as customer_id, as_timestamp(placed) as ordered_at,
    as_text(state) as status, as_text(state) not in ('canceled', 'unavailable') as is_valid
from bronze.exports__orders
"""
LINES = """
select as_text(order_id) as order_id,
    row_number() over (partition by _load_date, _source_file, as_text(order_id) order by _source_row) as line_number,
    as_text(product) as product_id, as_integer(n) as quantity, as_decimal(price) as unit_price
from bronze.exports__lines
"""
FIRST = date(2024, 1, 1)

#: Name → content of the files of one export.
Export = dict[str, str]


def make_exports(random: Random, exports: int = 6) -> tuple[list[Export], float]:
    """Exports in the order in which they were taken, and the revenue of all orders."""
    orders = {}
    for number in range(12 * exports):
        lines = [
            (f"p{random.randrange(9)}", random.randint(1, 3), random.randint(100, 9999) / 100)
            for _ in range(random.randint(1, 4))
        ]
        if random.random() < 0.3:
            lines.append(lines[0])  # twice the same line, as it was bought
        orders[number] = lines
    found = []
    for export in range(exports):
        last = 12 * (export + 1)
        first = max(0, last - 12 - random.randint(0, 15))
        header, rows, items = "id,person,placed,state\n", [], []
        for number in range(first, last):
            state = "delivered" if number < last - 12 else "shipped"
            rows.append(f"{number},c{number % 17},2023-12-{1 + number % 28:02} 10:00:00,{state}\n")
            items += [f"{number},{product},{n},{price}\n" for product, n, price in orders[number]]
        found.append({
            f"orders_{export:02}.csv": header + "".join(rows),
            f"lines_{export:02}.csv": "order_id,product,n,price\n" + "".join(items),
        })  # fmt: skip
    return found, sum(n * price for lines in orders.values() for _, n, price in lines)


def cut(exports: Sequence[Export], random: Random, drops: int) -> list[dict[str, str]]:
    """The exports in so many drops, in order; some files once more under another name in the same drop."""
    ends = sorted(random.sample(range(1, len(exports)), drops - 1))
    found = []
    for start, end in zip([0, *ends], [*ends, len(exports)], strict=True):
        drop = {name: text for export in exports[start:end] for name, text in export.items()}
        for name, text in list(drop.items()):
            if random.random() < 0.4:
                drop[name.replace(".csv", " (1).csv")] = text
        found.append(drop)
    return found


def deliver(drops: Sequence[dict[str, str]], raw: Path) -> None:
    for number, drop in enumerate(drops):
        folder = raw / (FIRST + timedelta(days=number)).isoformat()
        folder.mkdir(parents=True)
        for name, text in drop.items():
            (folder / name).write_text(text)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    home = tmp_path_factory.mktemp("sources") / "exports"
    home.mkdir()
    (home / "source.yml").write_text(SOURCE_YML)
    (home / "orders.orders.sql").write_text(ORDERS)
    (home / "order_items.lines.sql").write_text(LINES)
    return Driver.of(str(home), tmp_path_factory.mktemp("none"))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_overlapping_and_repeated_files_give_the_same_tables_however_they_are_cut(
    driver: Driver, tmp_path: Path, seed: int
):
    random = Random(seed)
    exports, revenue = make_exports(random)
    first = driver.at(tmp_path / "one")
    deliver([{name: text for export in exports for name, text in export.items()}], tmp_path / "one" / "raw")
    first.build()
    with first.connect() as con:
        ((found,),) = con.execute("select sum(quantity * unit_price) from silver.order_items").fetchall()
        ((overlapping,),) = con.execute("select sum(rows_overlapping) from silver.loads").fetchall()
    assert float(found) == pytest.approx(revenue)
    assert overlapping > 0
    with first.connect() as con:
        assert con.execute("select count(*) from silver.rejects").fetchall() == [(0,)]
    # In the quick run one cut will do: a build of all tables takes seconds.
    cuts = (
        [random.randint(2, len(exports) - 1)] if seed == 1 else [len(exports), random.randint(2, len(exports) - 1), 1]
    )
    for number, drops in enumerate(cuts):
        other = driver.at(tmp_path / f"cut{number}")
        deliver(cut(exports, random, drops), tmp_path / f"cut{number}" / "raw")
        other.build()
        with other.connect() as con:
            assert differences_but_provenance(con, tmp_path / "one" / "warehouse.duckdb") == []


def test_check_source_names_files_that_overlap_or_come_twice_and_what_is_none(driver: Driver, tmp_path: Path):
    exports, _ = make_exports(Random(3), 2)
    deliver([{name: text for export in exports for name, text in export.items()}], tmp_path)
    folder = tmp_path / FIRST.isoformat()
    (folder / "orders_01 (1).csv").write_text(exports[1]["orders_01.csv"])
    os.mkfifo(folder / "orders_pipe.csv")
    (folder / "lines_loop.csv").symlink_to("lines_loop.csv")
    report = check_source(driver.project.settings.source_folder, read_catalog(), tmp_path, FIRST)
    said = {(finding.level, Path(finding.where).name): finding.what for finding in report.findings}
    assert said["note", "orders_01.csv"] == "the same bytes as orders_01 (1).csv, which is used once"
    assert said["data", "orders_pipe.csv"].startswith("is a named pipe, not a file")
    assert said["data", "lines_loop.csv"].startswith("is a link that leads back to itself")
    overlapping = said["note", "silver.order_items"]  # the mapping goes by files already
    assert "order_items units (order_id) stand in several files (lines_00.csv and lines_01.csv), e.g. of" in overlapping
