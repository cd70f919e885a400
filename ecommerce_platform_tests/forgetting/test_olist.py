"""A customer of Olist, whose export has no names: what she wrote goes, and not one byte more."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.operations.forget import forget
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting.traces import traces

#: File → its column with the order, for those that have one.
_BY_ORDER = {
    "olist_orders_dataset": 0,
    "olist_order_items_dataset": 0,
    "olist_order_payments_dataset": 0,
    "olist_order_reviews_dataset": 1,
}


def sample(olist: Path, folder: Path, orders: int) -> None:
    """The first orders with all that belongs to them, in the files' own spelling."""
    folder.mkdir(parents=True)
    with (olist / "olist_orders_dataset.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row, _ in zip(csv.reader(file), range(orders + 1), strict=False)][1:]
    wanted, customers = {row[0] for row in rows}, {row[1] for row in rows}
    for path in sorted(olist.glob("*.csv")):
        if path.stem == "olist_geolocation_dataset":
            continue
        with path.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source)
            header = next(reader)
            place = _BY_ORDER.get(path.stem)
            kept = [
                row
                for row in reader
                if (
                    row[0] in customers
                    if path.stem == "olist_customers_dataset"
                    else place is None or row[place] in wanted
                )
            ]
        with (folder / path.name).open("w", encoding="utf-8", newline="") as target:
            csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *kept])


@pytest.mark.long
def test_what_a_customer_wrote_goes_and_nothing_else(test_data: Path, tmp_path: Path) -> None:
    drop = tmp_path / "data" / "raw" / "2018-10-17"
    sample(test_data / "olist", drop, 1500)
    driver = Driver.of("olist", tmp_path / "data")
    driver.build()

    def ask(sql: str) -> list[tuple]:
        with driver.connect() as con:
            return con.execute(sql).fetchall()

    # A text of several lines, with quotes in it where there is one.
    order, message, title, person = ask(
        "select r.order_id, r.message, r.title, i.person_id from silver.reviews as r join silver.orders as o using (order_id) "
        "join silver.customer_identities as i using (customer_id) where r.message is not null "
        "order by contains(r.message, chr(10)) desc nulls last, length(r.message) desc, r.review_id limit 1"
    )[0]
    before = {p.name: p.read_bytes() for p in drop.iterdir()}
    figures = "select * from gold.kpi_summary"
    tables = (
        "silver.customers",
        "silver.customer_identities",
        "gold.dim_customer",
        "gold.rfm",
        "gold.fct_orders",
        "gold.kpi_monthly",
    )
    was = {t: ask(f"select * from {t} order by all") for t in tables}
    summary = ask(figures)
    done = forget(driver.settings, person, build=driver.build, today=date(2024, 1, 1))
    assert done.done
    # No mapping names the day by which a line had to be handed over.
    assert done.files == {"order_items": 1, "order_reviews": 1}
    assert traces(driver.settings.data, [message]) == []
    assert ask(
        f"select count(*), count(title), count(message), count(score) from silver.reviews where order_id = '{order}'"
    )[0][1:] == (0, 0, 1)
    assert ask(figures) == summary
    for table in tables:
        assert ask(f"select * from {table} order by all") == was[table], table
    after = {p.name: p.read_bytes() for p in drop.iterdir()}
    assert [name for name, content in sorted(before.items()) if content != after[name]] == [
        "olist_order_items_dataset.csv", "olist_order_reviews_dataset.csv",
    ]  # fmt: skip
    lines = [content["olist_order_items_dataset.csv"].decode().splitlines() for content in (before, after)]
    assert {a.split(",")[0].strip('"') for a, b in zip(*lines, strict=True) if a != b} == {order}
    name = "olist_order_reviews_dataset.csv"
    quoted = [('"' + (text or "").replace('"', '""') + '"').encode() for text in (title, message)]
    old, new = (list(csv.reader(content[name].decode().splitlines(keepends=True))) for content in (before, after))
    assert [(a, b) for a, b in zip(old, new, strict=True) if a != b and a[1] != order] == []
    assert len(before[name]) - len(after[name]) >= sum(map(len, quoted)) - 8
