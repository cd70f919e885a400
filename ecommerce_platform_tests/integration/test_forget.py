"""Persons of a generated shop are forgotten by the command: with faults in the files, kills and builds beside it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform.reading.snapshots import read_manifest, snapshots
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.forgetting.traces import traces

pytestmark = [pytest.mark.long, pytest.mark.servers]

_TELLING = ("full_name", "email", "phone")
#: Figures about money and orders.
_MONEY = (
    "gold.kpi_daily", "gold.kpi_by_dimension", "gold.kpi_categories_yearly", "gold.kpi_payment_methods_yearly",
    "gold.fct_order_items", "gold.fct_payments", "silver.orders", "silver.order_items", "silver.payments", "silver.returns",
    "silver.shipments",
)  # fmt: skip


class Person:
    """Whom a test forgets: ids, and what tells the person from everybody else."""

    def __init__(self, shop: Shop, person_id: str) -> None:
        ids = shop.query(f"select customer_id from silver.customer_identities where person_id = '{person_id}'")
        self.id, self.ids = person_id, sorted(i for (i,) in ids)
        mine = ", ".join(f"'{i}'" for i in self.ids)
        self.values: set[str] = set()
        for column in _TELLING:
            found = shop.query(
                f"select distinct {column} from silver.customers_history as h where customer_id in ({mine}) and not exists ("
                f"select 1 from silver.customers_history as o where o.customer_id not in ({mine}) and o.{column} = h.{column})"
            )
            self.values |= {value for (value,) in found if value}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a faulty record in twenty, one drop delivered twice, and two snapshots."""
    shop = Shop(tmp_path_factory.mktemp("healthy"))
    shop.ok("generate", "--orders", "1200", "--days", "30", "--dirty", "0.05", "--seed", "7")
    shop.ok("build")
    shop.ok("publish")
    again = shop.folder / "again"
    shutil.copytree(shop.data / "raw" / "2024-01-05", again)
    (again / "orders.csv").write_text((again / "orders.csv").read_text().rstrip("\n").rpartition("\n")[0] + "\n")
    shop.ok("land", str(again), "--date", "2024-01-05")
    shutil.rmtree(again)
    shop.ok("build")
    shop.ok("publish")
    return shop


@pytest.fixture(scope="module")
def persons(healthy: Shop) -> list[Person]:
    """One known to three systems, one with a line that cannot be parsed, one with a rejected record."""
    several = healthy.query(
        "select person_id from silver.customer_identities group by 1 "
        "having count(distinct split_part(customer_id, '-', 1)) = 3 order by 1 limit 1"
    )
    no = "split_part(customer_id, '-', 2)"
    unparsable = healthy.query(
        f"select min(i.person_id) from silver.customer_identities as i, bronze.rejects as r where r.raw_table like '%customers' "
        f"and contains(r.raw_text, {no}) and i.person_id <> '{several[0][0]}'"
    )
    rejected = healthy.query(
        f"select min(i.person_id) from silver.customer_identities as i, silver.rejects as r where r.entity = 'customers' "
        f"and contains(r.raw_row, {no}) and i.person_id not in ('{several[0][0]}', '{unparsable[0][0]}')"
    )
    found = [Person(healthy, row[0][0]) for row in (several, unparsable, rejected)]
    assert all(p.values for p in found)
    return found


@pytest.fixture(scope="module")
def forgotten(healthy: Shop, persons: list[Person], tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = copied(healthy, tmp_path_factory.mktemp("forgotten"))
    for person in persons:
        said = shop.run("forget", person.ids[-1], "--yes")
        assert said.returncode == 0, said.stdout + said.stderr
        assert not any(value.lower() in (said.stdout + said.stderr).lower() for value in person.values)
    return shop


def copied(shop: Shop, folder: Path) -> Shop:
    shutil.copytree(shop.folder, folder / "shop", symlinks=True)
    return Shop(folder / "shop")


def test_no_file_and_no_table_holds_them(healthy: Shop, persons: list[Person], forgotten: Shop) -> None:
    for person in persons:
        before = traces(healthy.folder, person.values)
        for layer in ("data/raw/", "bronze.", "silver.", "gold."):
            assert any(layer in place for place in before), (person.ids, layer)
    assert traces(forgotten.folder, {v for p in persons for v in p.values}) == []


def test_figures_about_money_are_the_same_to_the_cent(healthy: Shop, forgotten: Shop) -> None:
    with duckdb.connect(str(forgotten.data / "warehouse.duckdb"), read_only=True) as con:
        con.execute(f"attach '{healthy.data / 'warehouse.duckdb'}' as before (read_only)")
        for table in _MONEY:
            columns = [
                c
                for c, *_ in con.execute(f"describe {table}").fetchall()
                if c not in ("person_id", "_source_row") and not c.startswith(("new_", "active_", "returning_", "repeat_"))
                and "customer" not in c
            ]  # fmt: skip
            names = ", ".join(columns)
            more = con.execute(f"select {names} from {table} except all select {names} from before.{table}").fetchall()
            less = con.execute(f"select {names} from before.{table} except all select {names} from {table}").fetchall()
            assert (more, less) == ([], []), table
        for column in ("revenue", "orders", "units_sold"):
            there = [c for c, *_ in con.execute("describe gold.kpi_summary").fetchall()]
            if column in there:
                assert (
                    con.execute(f"select {column} from gold.kpi_summary").fetchall()
                    == con.execute(f"select {column} from before.gold.kpi_summary").fetchall()
                )


def test_nobody_else_has_changed(healthy: Shop, persons: list[Person], forgotten: Shop) -> None:
    ids = ", ".join(f"'{i}'" for p in persons for i in p.ids)
    with duckdb.connect(str(forgotten.data / "warehouse.duckdb"), read_only=True) as con:
        con.execute(f"attach '{healthy.data / 'warehouse.duckdb'}' as before (read_only)")
        for table, whose in (
            ("silver.customers", "customer_id"), ("silver.customers_history", "customer_id"),
            ("silver.customer_identities", "customer_id"), ("gold.dim_customer", "person_id"), ("gold.rfm", "person_id"),
        ):  # fmt: skip
            others = f"where {whose} not in ({ids})"
            if table == "gold.rfm":  # scores compare persons with each other, and there are more of them now
                select = "select person_id, frequency, monetary, recency_days"
            else:
                select = "select *"
            more = con.execute(
                f"{select} from {table} {others} except {select} from before.{table} {others}"
            ).fetchall()
            less = con.execute(
                f"{select} from before.{table} {others} except {select} from {table} {others}"
            ).fetchall()
            assert (more, less) == ([], []), table
        for table in ("silver.reviews", "silver.web_events", "silver.rejects", "bronze.rejects", "silver.customers"):
            now, then = (con.execute(f"select count(*) from {t}").fetchone() for t in (table, f"before.{table}"))
            assert now == then, table
    changed = [
        f for f in (healthy.data / "raw").rglob("*")
        if f.is_file() and f.read_bytes() != (forgotten.data / f.relative_to(healthy.data)).read_bytes()
    ]  # fmt: skip
    assert 0 < len(changed) < 40
    for file in changed:
        if file.suffix in (".csv", ".jsonl"):
            old, new = file.read_bytes(), (forgotten.data / file.relative_to(healthy.data)).read_bytes()
            numbers = [i.split("-")[1].encode() for p in persons for i in p.ids]
            if old.count(b"\n") == new.count(b"\n") and file.name.startswith(("web_", "crm_", "newsletter_")):
                differing = [a for a, b in zip(old.split(b"\n"), new.split(b"\n"), strict=True) if a != b]
                assert all(
                    any(n in line for n in numbers) or any(v.encode() in line for p in persons for v in p.values)
                    for line in differing
                ), file


def test_a_build_from_the_changed_drops_gives_the_same(forgotten: Shop, tmp_path: Path) -> None:
    again = Shop(tmp_path)
    shutil.copytree(forgotten.data / "raw", again.data / "raw")
    again.ok("build")
    with duckdb.connect(str(forgotten.data / "warehouse.duckdb"), read_only=True) as con:
        found = differences(con, again.data / "warehouse.duckdb")
    # A copied file has another time; what stands in the ledgers of files follows from that.
    of_files = ("  ", "bronze.files", "silver.loads", "gold.table_profiles", "gold.profile_drift")
    assert [d for d in found if not d.startswith(of_files)] == []


def test_snapshots_can_still_be_asked(healthy: Shop, persons: list[Person], forgotten: Shop) -> None:
    then, now = (snapshots(s.data / "published") for s in (healthy, forgotten))
    assert [s.id for s in then] == [s.id for s in now]
    mine = persons[0].ids[0]
    for snapshot in now:
        manifest = read_manifest(snapshot.folder)
        assert all((snapshot.folder / e["file"]).stat().st_size == e["bytes"] for e in manifest["tables"].values())
        query = "select revenue, orders from gold.kpi_summary"
        assert forgotten.ok("sql", query, "--as-of", snapshot.id) == healthy.ok("sql", query, "--as-of", snapshot.id)
        asked = f"select count(*), count(email), count(full_name) from silver.customers where customer_id = '{mine}'"
        said = forgotten.ok("sql", asked, "--as-of", snapshot.id)
        assert [cell.strip() for cell in said.splitlines()[3].strip("│").split("│")] == ["1", "0", "0"]
    assert "published" in forgotten.ok("publish")


def test_a_second_time_nothing_is_left_to_do(persons: list[Person], forgotten: Shop) -> None:
    before = {p: p.stat().st_mtime_ns for p in (forgotten.data / "raw").rglob("*") if p.is_file()}
    assert "nothing personal was left to remove" in forgotten.ok("forget", persons[0].ids[0], "--yes")
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_who_is_delivered_again_is_told_and_forgotten_again(
    healthy: Shop, persons: list[Person], forgotten: Shop, tmp_path: Path
) -> None:
    shop, person = copied(forgotten, tmp_path), persons[0]
    web = next(i for i in person.ids if i.startswith("web-"))
    day = healthy.query(f"select min(valid_from) from silver.customers_history where customer_id = '{web}'")[0][0]
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(healthy.data / "raw" / str(day) / "web_customers.jsonl", again)
    shop.ok("land", str(again), "--date", "2024-01-30")
    said = shop.run("build").stdout
    assert "no_forgotten_person_returns" in said
    assert web in said
    assert "no_forgotten_person_returns" in shop.ok("status")
    assert traces(shop.folder / "data", person.values)
    shop.ok("forget", web, "--yes")
    assert "no_forgotten_person_returns" not in shop.ok("status")
    assert traces(shop.folder, person.values) == []


@pytest.mark.parametrize("seconds", [0.0, 0.3, 2.0, 6.0, 12.0, 16.0, 18.0, 19.0, 20.0, 21.0])
def test_killed_at_any_time_it_is_finished_by_the_next(
    healthy: Shop, persons: list[Person], tmp_path: Path, seconds: float
) -> None:
    shop, person = copied(healthy, tmp_path), persons[0]
    command = [str(Path(sys.executable).with_name("ecommerce")), "forget", person.ids[0], "--yes"]
    child = subprocess.Popen(
        command, env=shop.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=shop.folder
    )
    while not (shop.data / ".forgetting.json").exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if seconds == 2.0:
        shop.ok("build")
    # If the kill came too late, only this id of the person is left to name.
    shop.ok("forget", person.ids[0], "--yes")
    assert traces(shop.folder, person.values) == []
    assert not (shop.data / ".forgetting.json").exists()
    assert shop.query("select count(*) from silver.customers") == healthy.query("select count(*) from silver.customers")
    assert shop.query("select revenue from gold.kpi_summary") == healthy.query("select revenue from gold.kpi_summary")
    shop.ok("build")


def test_a_build_beside_it_writes_nothing_back(healthy: Shop, persons: list[Person], tmp_path: Path) -> None:
    shop, person = copied(healthy, tmp_path), persons[0]
    command = str(Path(sys.executable).with_name("ecommerce"))
    # All of it once more, so that the build has something to do from beginning to end.
    builder = subprocess.Popen(
        [command, "build", "--partitions", "2024-01-01..2024-01-30"],
        env=shop.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=shop.folder,
    )  # fmt: skip
    time.sleep(6)
    shop.ok("forget", person.ids[0], "--yes")
    builder.communicate(timeout=300)
    shop.ok("build")
    assert traces(shop.data / "raw", person.values) == []
    assert not any("warehouse.duckdb:" in place for place in traces(shop.data, person.values))


def test_it_asks_before_it_changes_anything(healthy: Shop, persons: list[Person]) -> None:
    refused = healthy.run("forget", persons[0].id)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert "would be changed" in healthy.ok("forget", persons[0].id, "--dry-run")
    unknown = healthy.run("forget", "web-nobody", "--yes")
    assert unknown.returncode == 2
    assert "silver.customer_identities" in unknown.stderr
    assert traces(healthy.data / "raw", persons[0].values)
