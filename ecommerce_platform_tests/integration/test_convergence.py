"""The whole platform, any schedule: bronze, silver and gold end as if the final drops had come all at once.

Each schedule delivers the same final drops in another order, in other batches, some of them first in another version,
taken back, repeated or in a run that is killed. Afterwards all tables are compared, row for row, with a warehouse that
got the final drops at once, and that one with the shop exported once, in everything but provenance. A failure prints
the schedule and its seed; `Converging.follow` replays it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from random import Random

import duckdb
import pytest

from ecommerce_platform.ingestion.replay import replay
from ecommerce_platform.simulation.shop import generate_shop
from ecommerce_platform_tests.analytics_shop import export_shop, write_shop
from ecommerce_platform_tests.compare import differences, differences_but_provenance
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.earlier import change
from ecommerce_platform_tests.schedules import Delivery, deliver, describe, finish, make_schedule

pytestmark = pytest.mark.shops

#: Orders, days, share of faulty records and first day, by the shop's seed; catalogues come on the first of a month.
GENERATED = {
    11: (300, 25, 0.02, date(2024, 1, 20)),
    12: (350, 21, 0.03, date(2024, 1, 25)),
    13: (600, 30, 0.01, date(2024, 11, 15)),
    14: (450, 40, 0.05, date(2024, 2, 25)),
}
#: A shop that delivers all it delivers whole a second time, changed; it cannot be exported once.
RESTOCKED = 14
OLIST_TODAY = date(2020, 1, 1)
#: Shops whose tables are kept in a database and delivered whole, with the lines of each file that the sample takes.
KEPT = {"marketplace": 1500, "pet_retail": 1500, "analytics_shop": 1500}
#: One in the default run, made without any real export; the others take minutes.
EACH_KEPT = [pytest.param(name, marks=() if name == "analytics_shop" else pytest.mark.long) for name in KEPT]
DRIVERS: dict[str, Driver] = {}


@dataclass(frozen=True)
class Converging:
    """A shop's final drops, and what they come to when they are loaded at once."""

    driver: Driver
    folder: Path
    days: Sequence[date]

    @property
    def final(self) -> Path:
        return self.folder / "final"

    @property
    def at_once(self) -> Path:
        return self.folder / "at_once" / "warehouse.duckdb"

    def follow(self, seed: int) -> None:
        """Carries out a schedule and compares what comes of it."""
        schedule = make_schedule(self.days, len(self.driver.steps), seed)
        folder = self.folder / f"schedule-{seed}"
        driver, told = self.driver.at(folder), describe(seed, schedule)
        (folder / "raw").mkdir(parents=True)
        for number, build in enumerate(schedule, start=1):
            for delivery in build.deliveries:
                deliver(self.final, folder / "raw", delivery)
            try:
                driver.build(again=build.again, only_first=build.only_first)
            except Exception as error:
                error.add_note(f"in build {number} of {self.folder.name}, {told}")
                raise
        with driver.connect() as con:
            found = differences(con, self.at_once)
        assert not found, "\n".join([f"{self.folder.name}, {told}", *found])
        shutil.rmtree(folder)

    def compare_with_single_export(self, export: Path) -> None:
        """Compares the final drops with one drop that holds all files of `export`."""
        single = self.folder / f"single-{export.name}"
        driver = self.driver.at(single)
        drop = single / "raw" / max(self.days).isoformat()
        shutil.copytree(export, drop)
        driver.build()
        with driver.connect() as con:
            assert con.execute("select count(*) > 0 from gold.fct_orders").fetchone() == (True,)
            assert differences_but_provenance(con, self.at_once) == []


def prepare(source: str, folder: Path) -> Converging:
    """Loads the final drops in `<folder>/final` at once."""
    if source not in DRIVERS:
        DRIVERS[source] = Driver.of(source, folder)
    days = finish(folder / "final")
    shop = Converging(DRIVERS[source], folder, days)
    for day in days:
        deliver(shop.final, folder / "at_once" / "raw", Delivery(day, "final"))
    shop.driver.at(folder / "at_once").build()
    return shop


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Notes that a schedule of some kind has converged; the summary says how many did."""
    return lambda kind: record_property("converged", kind)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Converging]:
    """Gives the generated shop of a seed; each is made once."""

    @cache
    def make(seed: int) -> Converging:
        orders, days, dirty, start = GENERATED[seed]
        folder = tmp_path_factory.mktemp(f"generated-{seed}-")
        generate_shop(folder / "made", orders=orders, days=days, seed=seed, dirty_share=dirty, start=start)
        (folder / "made" / "raw").rename(folder / "final")
        if seed == RESTOCKED:
            restock(folder / "final")
        return prepare("synthetic", folder)

    return make


def restock(final: Path) -> None:
    """Puts changed copies of what is delivered whole into a drop in the middle."""
    first, *rest = sorted(final.iterdir())
    for name in ("products.json", "postal_codes.csv", "labels.csv"):
        (rest[len(rest) // 2] / name).write_bytes(change(first / name, Random(name)))


def single_export(final: Path, export: Path) -> Path:
    """All files of all drops in one folder, so named that they are in the order of the days."""
    export.mkdir()
    for drop in sorted(final.iterdir()):
        for file in drop.iterdir():
            stem, dot, endings = file.name.partition(".")
            shutil.copy(file, export / f"{stem}-{drop.name}{dot}{endings}")
    return export


@pytest.fixture(scope="module")
def olist_sample(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Converging:
    """Three of a hundred persons with all that belongs to their orders, by month."""
    folder = tmp_path_factory.mktemp("olist-sample-")
    sample_olist(test_data / "olist", folder / "export")
    return replayed(folder / "export", folder)


@pytest.fixture(scope="module")
def olist(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Converging:
    """All of Olist, by month."""
    return replayed(test_data / "olist", tmp_path_factory.mktemp("olist-"))


def replayed(export: Path, folder: Path) -> Converging:
    source = Driver.of("olist", folder).project.source if "olist" not in DRIVERS else DRIVERS["olist"].project.source
    replay(export, source, folder / "final", "orders.order_purchase_timestamp", "month", OLIST_TODAY)
    return prepare("olist", folder)


@pytest.fixture(scope="module")
def kept(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Converging]:
    """Gives the first records of a shop that delivers everything whole: three times, the first two of them changed."""

    @cache
    def make(source: str) -> Converging:
        folder = tmp_path_factory.mktemp(f"{source}-")
        export = folder / "export"
        if source == "analytics_shop":
            export_shop(write_shop(folder / "shop.sqlite"), export)
        else:
            shutil.copytree(test_data / source, export)
        for file in export.iterdir():
            lines = file.read_bytes().splitlines(keepends=True)
            file.chmod(0o644)
            file.write_bytes(b"".join(lines[: KEPT[source]]))
        for day in (1, 2, 3):
            drop = folder / "final" / f"2026-01-0{day}"
            drop.mkdir(parents=True)
            for file in sorted(export.iterdir()):
                changed = change(file, Random(f"{source}/{day}/{file.name}"))
                (drop / file.name).write_bytes(file.read_bytes() if day == 3 else changed)
        return prepare(source, folder)

    return make


def cut_in_two(export: Path, folder: Path) -> Path:
    """The same records in two files per table, the second half first and each half backwards."""
    folder.mkdir()
    for file in export.iterdir():
        header, *lines = file.read_bytes().splitlines(keepends=True)
        if not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        middle = len(lines) // 2
        for number, part in enumerate((lines[middle:], lines[:middle]), 1):
            (folder / f"{file.stem}-{number}.csv").write_bytes(header + b"".join(reversed(part)))
    return folder


def as_parquet(export: Path, folder: Path) -> Path:
    """The same records in Parquet with the types that a database would give them: ids with gaps are doubles."""
    folder.mkdir()
    con = duckdb.connect()
    for file in export.iterdir():
        # US dates are text in the source, too.
        typed = f"read_csv('{file}', sample_size = -1, auto_type_candidates = ['BIGINT', 'DOUBLE', 'DATE', 'VARCHAR'])"
        whole = [name for name, kind, *_ in con.execute(f"describe from {typed}").fetchall() if kind == "BIGINT"]
        gaps = [c for c in whole if con.execute(f"select count(*) > count({c}) from {typed}").fetchone() == (True,)]
        doubles = ", ".join(f"cast({c} as double) as {c}" for c in gaps)
        select = f"* replace ({doubles})" if gaps else "*"
        con.execute(f"copy (select {select} from {typed}) to '{folder / file.stem}.parquet'")
    return folder


def sample_olist(export: Path, folder: Path) -> None:
    """Writes a consistent part of the export: some persons, their orders, and only what these name."""
    folder.mkdir()
    con = duckdb.connect()
    con.execute("set threads = 2")
    for file in export.glob("*.csv"):
        name = file.name.removeprefix("olist_").removesuffix("_dataset.csv").removesuffix(".csv")
        con.execute(f"create view {name} as from read_csv('{file}', all_varchar = true, quote = '\"', escape = '\"')")
    # Those who came back are few, and what becomes of their orders is the most interesting.
    con.execute("""
        create table persons as select customer_unique_id as person, count(*) as records from customers group by 1;
        create table chosen as select person from persons
            where hash(person) % 100 < case when records > 1 then 15 else 3 end""")
    parts = {
        "customers": "from customers where customer_unique_id in (from chosen)",
        "orders": "from orders where customer_id in (select customer_id from s_customers)",
        **{
            table: f"from {table} where order_id in (select order_id from s_orders)"
            for table in ("order_items", "order_payments", "order_reviews")
        },
        "products": "from products where product_id in (select product_id from s_order_items)",
        "sellers": "from sellers where seller_id in (select seller_id from s_order_items)",
        # Six points per prefix are enough to have a middle.
        "geolocation": "from geolocation where geolocation_zip_code_prefix in "
        "(select customer_zip_code_prefix from s_customers union select seller_zip_code_prefix from s_sellers) "
        "qualify row_number() over (partition by geolocation_zip_code_prefix order by geolocation_lat, geolocation_lng) <= 6",
    }
    for table, part in parts.items():
        con.execute(f"create table s_{table} as {part}")
        con.execute(f"copy (from s_{table} order by all) to '{folder}/olist_{table}_dataset.csv' (header)")
    shutil.copy(export / "product_category_name_translation.csv", folder)


# One schedule of each kind in the default run: few builds, one of them killed, and drops that are changed and taken back.
@pytest.mark.parametrize("seed", [52])
def test_any_schedule_of_a_generated_shop_ends_like_one_load(generated, counted, seed: int) -> None:
    generated(12).follow(seed)
    counted("generated")


def test_a_generated_shop_by_the_day_is_the_shop_exported_once(generated) -> None:
    shop = generated(12)
    shop.compare_with_single_export(single_export(shop.final, shop.folder / "export"))


@pytest.mark.long
@pytest.mark.parametrize("seed", [4])
def test_any_schedule_of_olist_by_month_ends_like_one_load(olist_sample, counted, seed: int) -> None:
    olist_sample.follow(seed)
    counted("sample of olist")


@pytest.mark.long
def test_olist_by_month_is_olist_exported_once(olist_sample) -> None:
    olist_sample.compare_with_single_export(olist_sample.folder / "export")


def test_any_schedule_of_whole_deliveries_ends_like_one_load(kept, counted) -> None:
    kept("analytics_shop").follow(4)
    counted("whole deliveries")


@pytest.mark.parametrize("source", EACH_KEPT)
def test_the_newest_whole_delivery_is_what_counts_however_it_is_cut_and_sorted(kept, source: str) -> None:
    shop = kept(source)
    shop.compare_with_single_export(cut_in_two(shop.folder / "export", shop.folder / "cut"))


@pytest.mark.parametrize("source", EACH_KEPT)
def test_a_whole_delivery_in_parquet_is_the_one_in_csv(kept, source: str) -> None:
    shop = kept(source)
    shop.compare_with_single_export(as_parquet(shop.folder / "export", shop.folder / "parquet"))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 13))
@pytest.mark.parametrize("source", KEPT)
def test_many_schedules_of_whole_deliveries_end_like_one_load(kept, counted, source: str, seed: int) -> None:
    kept(source).follow(seed)
    counted("whole deliveries")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 113))
@pytest.mark.parametrize("shop", GENERATED)
def test_many_schedules_of_generated_shops_end_like_one_load(generated, counted, shop: int, seed: int) -> None:
    generated(shop).follow(seed)
    counted("generated")


@pytest.mark.long
@pytest.mark.parametrize("shop", sorted(GENERATED.keys() - {12, RESTOCKED}))
def test_generated_shops_by_the_day_are_the_shops_exported_once(generated, shop: int) -> None:
    made = generated(shop)
    made.compare_with_single_export(single_export(made.final, made.folder / "export"))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 151))
def test_many_schedules_of_olist_by_month_end_like_one_load(olist_sample, counted, seed: int) -> None:
    olist_sample.follow(seed)
    counted("sample of olist")


@pytest.mark.long
@pytest.mark.parametrize("seed", [200, 201, 202])
def test_schedules_of_all_of_olist_end_like_one_load(olist, counted, seed: int) -> None:
    olist.follow(seed)
    counted("all of olist")


@pytest.mark.long
def test_all_of_olist_by_month_is_olist_exported_once(olist, test_data: Path) -> None:
    olist.compare_with_single_export(test_data / "olist")
