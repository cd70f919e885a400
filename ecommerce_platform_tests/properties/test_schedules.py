"""The tools of the convergence tests: what counts as a difference, and that every schedule ends in the final drops."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform_tests.compare import differences, differences_but_provenance
from ecommerce_platform_tests.schedules import Delivery, deliver, drop_of, finish, make_schedule

DAYS = [date(2024, 1, 30) + timedelta(days=n) for n in range(12)]
TABLES = """
create schema bronze; create schema silver; create schema gold;
create table bronze.files (raw_table varchar, rows_loaded bigint, loaded_at timestamp);
insert into bronze.files values ('orders', 2, now()::timestamp);
create table bronze.shop__orders (_load_date date, "Id" varchar, note varchar);
insert into bronze.shop__orders values ('2024-01-01', 'a', null);
create table silver.orders (order_id varchar, amount double, _load_date date);
insert into silver.orders values ('a', 0.1, '2024-01-01'), ('b', 2, '2024-01-01'), ('b', 2, '2024-01-01');
create table silver.rejects (entity varchar, reason varchar);
insert into silver.rejects values ('orders', 'wrong');
create table gold.kpi (orders bigint);
insert into gold.kpi values (2);
"""


@pytest.mark.parametrize(
    ("change", "named", "but_provenance"),
    [
        ("select 1", None, False),
        ("update bronze.files set loaded_at = '2024-01-01'", None, False),
        ("update bronze.files set rows_loaded = 3", "bronze.files", False),
        ("update silver.orders set amount = 0.3 - 0.2 where order_id = 'a'", None, False),
        ("update silver.orders set amount = 0.1001 where order_id = 'a'", "silver.orders", True),
        ("update silver.orders set amount = null where order_id = 'a'", "silver.orders", True),
        ("insert into silver.orders values ('a', 0.1, '2024-01-01')", "silver.orders", True),
        ("delete from silver.orders where rowid = 2", "silver.orders", True),
        ("update silver.orders set _load_date = '2024-01-02' where order_id = 'a'", "silver.orders", False),
        ("delete from silver.rejects", "silver.rejects", False),
        ("drop table gold.kpi", "gold.kpi", True),
        ("alter table gold.kpi alter orders type integer", "gold.kpi", True),
        ("alter table bronze.shop__orders drop note", None, False),
        ("update bronze.shop__orders set note = 'x'", "bronze.shop__orders", False),
        ("alter table bronze.shop__orders drop note; alter table bronze.shop__orders rename \"Id\" to id", None, False),
    ],
)  # fmt: skip
def test_a_difference_is_found_and_named(tmp_path: Path, change: str, named: str | None, but_provenance: bool) -> None:
    for file in ("one", "other"):
        with duckdb.connect(str(tmp_path / file)) as con:
            con.execute(TABLES)
            if file == "one":
                con.execute(change)
    with duckdb.connect(str(tmp_path / "one")) as con:
        found = differences(con, tmp_path / "other")
        assert bool(differences_but_provenance(con, tmp_path / "other")) == but_provenance
    assert bool(found) == bool(named)
    assert not named or found[0].startswith(named)


def test_every_schedule_ends_with_the_final_drops(tmp_path: Path) -> None:
    for number, day in enumerate(DAYS):
        (tmp_path / "final" / day.isoformat()).mkdir(parents=True)
        (tmp_path / "final" / day.isoformat() / "orders.csv").write_text(f"id,state\n{number},new\n{number + 1},new\n")
    assert finish(tmp_path / "final") == DAYS

    def drops(folder: Path) -> dict:
        return {
            (drop.name, f.name): (f.read_bytes(), f.stat().st_mtime_ns)
            for drop in folder.iterdir()
            for f in drop.iterdir()
        }

    expected, seen = drops(tmp_path / "final"), set()
    for seed in range(60):
        raw = tmp_path / f"raw-{seed}"
        raw.mkdir()
        schedule = make_schedule(DAYS, 40, seed)
        assert schedule == make_schedule(DAYS, 40, seed)
        assert schedule[-1].only_first is None
        for build in schedule:
            assert len({d.day for d in build.deliveries}) == len(build.deliveries)
            for delivery in build.deliveries:
                deliver(tmp_path / "final", raw, delivery)
                seen.add(delivery.what)
        assert drops(raw) == expected
    assert seen == {"final", "earlier", "touched", "gone"}


def test_an_earlier_version_is_the_same_each_time_and_leaves_the_final_drop_alone(tmp_path: Path) -> None:
    for day in DAYS[:2]:
        (tmp_path / "final" / day.isoformat()).mkdir(parents=True)
        (tmp_path / "final" / day.isoformat() / "orders.csv").write_text("id,state\n1,new\n2,new\n3,sent\n")
    finish(tmp_path / "final")
    (before,) = drop_of(tmp_path / "final", DAYS[0])
    content, versions = before.read_bytes(), []
    for seed in [*range(30), *range(30)]:
        deliver(tmp_path / "final", tmp_path / "raw", Delivery(DAYS[0], "earlier", seed))
        versions.append([(f.name, f.read_bytes()) for f in drop_of(tmp_path / "raw", DAYS[0])])
        assert before.read_bytes() == content
    assert versions[:30] == versions[30:]
    assert sum(version != [("orders.csv", content)] for version in versions[:30]) > 10
