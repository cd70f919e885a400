"""A source as `new-source` drafts it, without a line put right by hand: the same tables however its days are cut.

The export is one of a shop whose files hold lines, with all that is known of products and customers on each: names that
are missing on some days, that differ by case, or that are notes about the goods. The same lines come in one drop, a drop
a day in any order, by the week, in files that overlap and in files that are there twice.
"""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import yaml

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.scaffold.check import check_source
from ecommerce_platform.scaffold.new import new_source
from ecommerce_platform_tests.compare import differences_but_provenance
from ecommerce_platform_tests.driver import Driver

pytestmark = pytest.mark.shops

FIRST = date(2023, 1, 2)
TODAY = date(2024, 6, 1)
HEADER = (
    "Invoice",
    "InvoiceDate",
    "StockCode",
    "Description",
    "Quantity",
    "Price",
    "Customer ID",
    "Country",
    "Currency",
)
NOTES = ("faulty", "damaged", "?", "wrongly coded")
Line = tuple[str, ...]


def make_lines(days: int, seed: int) -> list[list[Line]]:
    """The lines of each day, in the order in which the shop exports them."""
    random, made, invoice = Random(seed), [], 1000
    for number in range(days):
        lines: list[Line] = []
        for _ in range(random.randint(3, 7)):
            invoice += 1
            at = datetime.combine(FIRST + timedelta(days=number), datetime.min.time())
            at += timedelta(hours=9, minutes=random.randrange(400))
            customer = random.randrange(12)
            country = random.choice(("Germany", "Germany", "Austria")) if random.random() < 0.8 else ""
            for product in random.sample(range(20), random.randint(1, 4)):
                name = f"LAMP {product}" if random.random() < 0.7 else random.choice((f"Lamp {product}", *NOTES))
                name = "" if number % 9 == 8 or random.random() < 0.1 else name
                lines.append(
                    (str(invoice), f"{at:%Y-%m-%d %H:%M}", f"P{product:02d}", name, str(random.randint(1, 3)),
                     f"{5 + product}.50", f"C{customer}", country, "EUR")
                )  # fmt: skip
        made.append(lines)
    return made


def write(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *lines])


@dataclass(frozen=True)
class Drafted:
    """A drafted source and what its export comes to when it is loaded at once."""

    driver: Driver
    folder: Path
    days: list[list[Line]]

    def name(self, day: int, ending: str = "") -> str:
        return f"lines_{FIRST + timedelta(days=day):%Y%m%d}{ending}.csv"

    def build(self, name: str, drops: Sequence[Sequence[dict[str, Sequence[Line]]]]) -> Driver:
        """Builds after each batch of drops; a drop is file → lines, its day that of its newest line."""
        driver = self.driver.at(self.folder / name)
        for batch in drops:
            for drop in batch:
                newest = max(line[1] for lines in drop.values() for line in lines)[:10]
                for file, lines in drop.items():
                    write(self.folder / name / "raw" / newest / file, lines)
            driver.build()
        return driver

    def same(self, name: str, drops: Sequence[Sequence[dict[str, Sequence[Line]]]]) -> None:
        with self.build(name, drops).connect() as con:
            found = differences_but_provenance(con, self.folder / "at_once" / "warehouse.duckdb")
        assert not found, "\n".join([name, *found])
        shutil.rmtree(self.folder / name)


def draft(folder: Path, days: list[list[Line]]) -> Drafted:
    """Drafts the source from the daily files; currency and time zone are what only its owner knows."""
    source = folder / "lines_shop"
    for number, lines in enumerate(days):
        write(folder / "export" / f"lines_{FIRST + timedelta(days=number):%Y%m%d}.csv", lines)
    new_source(str(source), folder / "export", read_catalog(), TODAY, threads=2)
    said = (source / "source.yml").read_text()
    (source / "source.yml").write_text(said.replace('time_zone: "?"', "time_zone: Europe/Berlin"))
    shop = Drafted(Driver.of(str(source), folder), folder, days)
    shop.build("at_once", [[{shop.name(n): lines for n, lines in enumerate(days)}]])
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Drafted:
    return draft(tmp_path_factory.mktemp("drafted-"), make_lines(20, 5))


def daily(shop: Drafted) -> list[dict[str, Sequence[Line]]]:
    return [{shop.name(n): lines} for n, lines in enumerate(shop.days)]


def overlapping(shop: Drafted, width: int) -> list[dict[str, Sequence[Line]]]:
    """Drops of `width` days; each file begins a day early, and each drop's middle day comes in a copy of its own, too."""
    drops = []
    for first in range(0, len(shop.days), width):
        days = range(max(0, first - 1), min(first + width, len(shop.days)))
        some = [line for n in days for line in shop.days[n]]
        drop: dict[str, Sequence[Line]] = {shop.name(days[-1], "_and_before"): some}
        middle = days[len(days) // 2]
        drop |= {shop.name(middle): shop.days[middle], shop.name(middle, "_again"): shop.days[middle]}
        drops.append(drop)
    return drops


def shuffled(drops: list[dict[str, Sequence[Line]]], builds: int, seed: int) -> list[list[dict[str, Sequence[Line]]]]:
    random, batches = Random(seed), defaultdict(list)
    for drop in drops:
        batches[random.randrange(builds)].append(drop)
    return [batches[n] for n in sorted(batches)]


# -- what the shop's lines say -------------------------------------------------------------------------------------


def newest_text(days: list[list[Line]], key: int, text: int) -> dict[str, str | None]:
    """Key → the newest text that is there, of equally new ones the greatest."""
    found: dict[str, tuple[str, bytes]] = {}
    keys: dict[str, None] = {}
    for line in (line for lines in days for line in lines):
        keys[line[key]] = None
        if line[text]:
            found[line[key]] = max(found.get(line[key], ("", b"")), (line[1], line[text].encode()))
    return {k: found[k][1].decode() if k in found else None for k in keys}


def test_a_drafted_source_gathers_names_and_countries_and_nothing_is_put_right_by_hand(shop: Drafted) -> None:
    said = yaml.safe_load((shop.folder / "lines_shop" / "source.yml").read_text())
    assert {name: set(columns) for name, columns in said["gathered"].items()} == {
        "products.lines": {"name"}, "customers.lines": {"country"},
    }  # fmt: skip
    report = check_source(shop.folder / "lines_shop", read_catalog(), shop.folder / "export", TODAY, threads=2)
    assert report.of("definition") == report.of("data") == []
    with shop.driver.at(shop.folder / "at_once").connect() as con:
        names = dict(con.execute("select product_id, name from silver.products").fetchall())
        countries = dict(con.execute("select customer_id, country from silver.customers").fetchall())
        revenue = con.execute("select sum(revenue) from gold.kpi_daily").fetchone()
    assert names == newest_text(shop.days, 2, 3)
    assert countries == newest_text(shop.days, 6, 7)
    assert float(revenue[0]) == pytest.approx(sum(int(x[4]) * float(x[5]) for lines in shop.days for x in lines))


def test_a_drafted_source_by_the_day_in_any_order_ends_like_one_drop(shop: Drafted) -> None:
    shop.same("daily", shuffled(daily(shop), 2, 1))


@pytest.mark.long
def test_overlapping_and_repeated_files_of_a_drafted_source_double_nothing(shop: Drafted) -> None:
    shop.same("overlapping", shuffled(overlapping(shop, 6), 2, 2))


def test_overlapping_and_repeated_files_in_one_drop_double_nothing(shop: Drafted) -> None:
    everything = {file: lines for drop in overlapping(shop, 5) for file, lines in drop.items()}
    shop.same("one_drop", [[everything]])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_cuts_of_a_drafted_source_end_like_one_drop(shop: Drafted, seed: int) -> None:
    random = Random(seed)
    drops = daily(shop) if random.random() < 0.4 else overlapping(shop, random.randint(2, 9))
    shop.same(f"cut-{seed}", shuffled(drops, random.randint(1, 5), seed))


@pytest.mark.long
def test_ten_months_of_daily_files_end_like_one_drop(tmp_path: Path) -> None:
    shop = draft(tmp_path, make_lines(305, 6))
    shop.same("daily", shuffled(daily(shop), 4, 3))
    shop.same("overlapping", shuffled(overlapping(shop, 11), 3, 4))
