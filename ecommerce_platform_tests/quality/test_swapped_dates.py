"""Days and months that changed places are found in the files that have them, and nowhere else."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.contracts.source import builtin_sources, read_source
from ecommerce_platform.quality.swapped_dates import judge_column, judge_days
from ecommerce_platform.scaffold.check import Report, check_source
from ecommerce_platform.silver.mapping import compile_source
from ecommerce_platform.simulation.feeds import make_feeds
from ecommerce_platform.simulation.simulate import simulate
from ecommerce_platform.warehouse.connection import MACROS

START = date(2023, 2, 10)


def days(count: int, start: date = START, step: int = 1) -> list[date]:
    return [start + timedelta(days=n) for n in range(0, count, step)]


def swapped(given: list[date]) -> list[date]:
    return [day.replace(month=day.day, day=day.month) if day.day <= 12 else day for day in given]


@pytest.mark.parametrize("count", [110, 200, 409, 900])
def test_swapped_days_are_found_and_right_ones_are_not(count: int) -> None:
    assert judge_days(days(count)).verdict == "in place"
    found = judge_days(swapped(days(count)))
    assert (found.verdict, found.gaps_swapped) == ("swapped", 0)
    assert (found.first_swapped, found.last_swapped) == (START, START + timedelta(days=count - 1))


def test_a_tenth_of_the_gaps_may_stay_and_no_more() -> None:
    """Swapped as they are, 409 days leave gaps; what is taken from the right ones are gaps that never close."""
    whole = days(409)
    gaps = judge_days(swapped(whole)).gaps
    # Days above the 12th are the same either way, so each one taken is a gap before and after: x ≤ 0.1 (gaps + x).
    late = [day for day in whole if day.day > 12][1:-1]
    most = gaps // 9
    assert judge_days(swapped([d for d in whole if d not in set(late[:most])])).verdict == "swapped"
    assert judge_days(swapped([d for d in whole if d not in set(late[: most + 1])])).verdict == "in place"


def test_fewer_than_thirty_days_that_would_change_are_too_few_to_tell() -> None:
    moved = [day for day in days(409) if day.day <= 12 and day.day != day.month]
    rest = [day for day in days(409) if day.day > 12]
    assert judge_days(swapped(rest + moved[:29])).verdict == "too few to tell"
    assert judge_days(swapped(rest + moved[:30])).verdict != "too few to tell"
    assert judge_days([]).verdict == "too few to tell"


def test_a_placeholder_far_away_hides_nothing() -> None:
    for placeholder in (date(1900, 1, 1), date(9999, 12, 31)):
        assert judge_days([*swapped(days(409)), placeholder]).verdict == "swapped"
        assert judge_days([*days(409), placeholder]).verdict == "in place"


@pytest.mark.parametrize(
    "given",
    [
        [date(2018 + n // 12, n % 12 + 1, 1) for n in range(60)],  # the first of each month
        days(800, step=7),
        [day for day in days(500) if day.weekday() != 4],
        [day for day in days(300) if day.month != 5],  # closed for a month
    ],
    ids=["months", "weeks", "closed on Fridays", "closed for a month"],
)
def test_gaps_of_other_kinds_are_no_swap(given: list[date]) -> None:
    assert judge_days(given).verdict == "in place"


def test_a_column_is_judged_where_it_stands() -> None:
    with duckdb.connect() as con:
        con.execute(
            "create table orders as select unnest(?::date[]) + interval 3 hour as placed_at", [swapped(days(409))]
        )
        assert judge_column(con, "orders", "placed_at").verdict == "swapped"
        assert (
            judge_column(con, "orders where extract('day' from placed_at) > 12", "placed_at").verdict
            == "too few to tell"
        )


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog()


def _verdicts(report: Report) -> set[tuple[str, str, str]]:
    return {column for column, verdict in report.days_and_months.items() if verdict == "swapped"}


def _as_delivered(folder: Path) -> Path:
    """The marketplace's source, taking dates as they are."""
    shutil.copytree(builtin_sources()["marketplace"], folder)
    path = folder / "orders.order_detail.sql"
    sql = path.read_text(encoding="utf-8")
    plain = [
        line if "regexp_replace" not in line else "min(as_timestamp(order_date)) as ordered_at,"
        for line in sql.splitlines()
    ]
    path.write_text("\n".join(plain), encoding="utf-8")
    return folder


def test_check_source_finds_the_swap_in_the_marketplaces_file_and_not_after_the_mapping(
    catalog: Catalog, test_data: Path, tmp_path: Path
) -> None:
    files, today = test_data / "marketplace", date(2022, 12, 31)
    report = check_source(_as_delivered(tmp_path / "marketplace"), catalog, files, today, threads=2)
    assert _verdicts(report) == {("orders", "ordered_at", "order_detail")}
    (finding,) = [f for f in report.findings if "changed places" in f.what]
    assert "409 days from 2021-01-07 to 2022-12-08 leave 292 days out" in finding.what
    assert "from 2021-07-01 to 2022-08-13 and leave out 0" in finding.what
    # What it says to write is what the built-in mapping says.
    assert finding.fix is not None
    written = (builtin_sources()["marketplace"] / "orders.order_detail.sql").read_text(encoding="utf-8")
    assert finding.fix[finding.fix.index("as_timestamp") :] in written
    report = check_source(builtin_sources()["marketplace"], catalog, files, today, threads=2)
    assert _verdicts(report) == set()
    assert report.findings == []


@pytest.mark.long
def test_nothing_is_found_in_the_other_real_exports(catalog: Catalog, test_data: Path) -> None:
    tried = {}
    for name in ("olist", "pet_retail"):
        report = check_source(builtin_sources()[name], catalog, test_data / name, date(2022, 1, 1), threads=2)
        tried |= {(name, *column): verdict for column, verdict in report.days_and_months.items()}
    assert list(tried.values()).count("in place") >= 10
    assert "swapped" not in tried.values()


@pytest.mark.parametrize(
    "seeds",
    [range(200, 203), *(pytest.param(range(n, n + 10), marks=pytest.mark.long) for n in range(210, 310, 10))],
    ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}",
)
def test_nothing_is_found_in_generated_shops(
    catalog: Catalog, seeds: range, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every date and time of the mappings over what the shop's systems export in 400 days, faults and all."""
    source = read_source(builtin_sources()["synthetic"], catalog.entities)
    compiled = compile_source(source, {entity: catalog.contract(f"silver.{entity}") for entity in catalog.entities})
    verdicts: Counter[str] = Counter()
    for seed in seeds:
        shop = simulate(orders=600, days=400, seed=seed, start=START, progress=lambda *_: None)
        feeds = {feed.table: feed for feed in make_feeds(shop, 0.01)}
        with duckdb.connect(config={"threads": 1}) as con:
            con.execute(MACROS.read_text(encoding="utf-8"))
            for mapping in (m for found in compiled.values() for m in found):
                feed = feeds[mapping.raw_table]
                con.register(
                    "delivered",
                    feed.rows(np.arange(len(feed.day)))
                    .select((cs.string() | cs.temporal()).cast(pl.String))
                    .to_arrow(),
                )
                for conversion in mapping.conversions:
                    if conversion.call.startswith(("as_date", "as_timestamp")):
                        found = judge_column(con, "delivered", conversion.call)
                        verdicts[found.verdict] += 1
                        assert found.verdict != "swapped", (
                            seed,
                            mapping.mapping.path.name,
                            conversion.call,
                            str(found),
                        )
    with capsys.disabled():
        print(f"\n{len(seeds)} generated shops: {dict(verdicts)}")
    assert verdicts["in place"] >= 15 * len(seeds)
