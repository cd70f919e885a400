"""Each entry of docs/runbook.md, tried: what breaks, what is said, and that what the page advises puts it right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.conftest import ROOT, Shop

pytestmark = [pytest.mark.long, pytest.mark.servers]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small shop, built and published."""
    shop = Shop(tmp_path_factory.mktemp("healthy"))
    shop.ok("generate", "--orders", "1500", "--days", "30", "--dirty", "0")
    shop.ok("build")
    shop.ok("publish")
    return shop


@pytest.fixture
def broken(healthy: Shop, tmp_path: Path) -> Shop:
    """A copy of it, to break."""
    shutil.copytree(healthy.folder, tmp_path / "shop", symlinks=True)
    return Shop(tmp_path / "shop")


def revenue(shop: Shop) -> str:
    return str(shop.query("select revenue from gold.kpi_summary")[0][0])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MB. Mounting one takes root, as in CI."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, f"this test mounts a small disk and needs root for that: {done.stderr}"
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_after_a_full_disk_the_next_build_goes_on(healthy: Shop, small_disk: Path) -> None:
    shutil.copytree(healthy.folder, small_disk / "shop", symlinks=True)
    shop = Shop(small_disk / "shop")
    home = str(healthy.folder / "other_home")  # Dagster's own databases are on another disk
    filler = small_disk / "filler"
    shutil.rmtree(shop.data / "raw" / "2024-01-20")
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(b"0" * (free - 1_500_000))
    failed = shop.run("build", DAGSTER_HOME=home)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "the disk is full" in failed.stdout, failed.stdout
    assert "Traceback" not in failed.stderr
    full = shop.run("publish", "--wait", "0", DAGSTER_HOME=home)
    assert full.returncode != 0
    assert "Traceback" not in full.stderr
    assert shop.query("select count(*) from gold.kpi_summary") == [(1,)]

    filler.unlink()
    shop.ok("build", DAGSTER_HOME=home)
    assert shop.query("select count(*) from silver.loads where _load_date = date '2024-01-20'") == [(0,)]
    shop.ok("publish", DAGSTER_HOME=home)


def test_a_locked_warehouse_is_waited_for_and_the_log_says_who_has_it(broken: Shop) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb, time; con = duckdb.connect({str(broken.data / 'warehouse.duckdb')!r}); "
         "print('open', flush=True); time.sleep(4)"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    done = broken.run("status")
    assert done.returncode == 0
    assert f"process {holder.pid}" in done.stderr
    holder.wait()


@pytest.mark.parametrize("damage", ["header", "cut", "middle"])
def test_a_damaged_warehouse_is_told_and_comes_back_from_the_drops(broken: Shop, healthy: Shop, damage: str) -> None:
    file = broken.data / "warehouse.duckdb"
    content = bytearray(file.read_bytes())
    if damage == "header":
        content[:4096] = os.urandom(4096)
    elif damage == "cut":
        del content[len(content) // 2 :]
    else:
        for place in range(100_000, len(content), 50_000):
            content[place : place + 64] = os.urandom(64)
    file.write_bytes(content)
    failed = broken.run("build", "--partitions", "2024-01-01..2024-01-30")
    assert failed.returncode in (1, 2)
    assert re.search("damaged|cannot be opened", failed.stdout + failed.stderr)
    assert "Traceback" not in failed.stderr

    file.rename(file.with_suffix(".damaged"))
    broken.ok("build")
    with duckdb.connect(str(broken.data / "warehouse.duckdb")) as con:
        assert differences(con, healthy.data / "warehouse.duckdb") == []


def test_a_damaged_drop_leaves_the_rest_alone_and_is_delivered_again(broken: Shop) -> None:
    before = revenue(broken)
    day = broken.data / "raw" / "2024-01-10"
    good = (day / "order_items.parquet").read_bytes()
    (day / "order_items.parquet").write_bytes(good[: len(good) // 2])
    damaged = broken.run("build")
    assert damaged.returncode == 3
    assert "2024-01-10/order_items.parquet" in damaged.stdout
    assert revenue(broken) != before
    assert "unreadable_file" in broken.ok("rejects", "order_items")

    (day / "order_items.parquet").write_bytes(good)
    broken.ok("build")
    assert revenue(broken) == before


def test_a_contract_that_the_data_does_not_meet_keeps_the_table_as_it_was(broken: Shop, tmp_path: Path) -> None:
    package = tmp_path / "checkout"
    shutil.copytree(ROOT / "ecommerce_platform", package / "ecommerce_platform")
    contract = package / "ecommerce_platform" / "models" / "gold" / "core" / "fct_orders.yml"
    good = contract.read_text()
    assert "  device:\n" in good
    contract.write_text(good.replace("  device:\n", "  device:\n    accepted: [typewriter]\n", 1))
    before = revenue(broken)
    failed = broken.run("build", PYTHONPATH=str(package))
    assert failed.returncode == 1
    assert "device is one of typewriter" in failed.stdout
    assert revenue(broken) == before
    contract.write_text(good)
    broken.ok("build", PYTHONPATH=str(package))
    assert "no check fails" in broken.ok("status") or "foreign_keys" in broken.ok("status")


def test_a_published_snapshot_is_restored_until_the_next_publish(broken: Shop) -> None:
    first = broken.ok("sql", "select revenue from gold.kpi_summary", "--csv")
    name = (broken.data / "published" / "current").resolve().name
    shutil.rmtree(broken.data / "raw" / "2024-01-15")
    broken.ok("build")
    broken.ok("publish")
    wrong = broken.ok("sql", "select revenue from gold.kpi_summary", "--csv")
    assert wrong != first
    assert name in broken.ok("snapshots", "--restore", name)
    assert broken.ok("sql", "select revenue from gold.kpi_summary", "--csv") == first
    broken.ok("publish")
    assert broken.ok("sql", "select revenue from gold.kpi_summary", "--csv") == wrong
    refused = broken.run("snapshots", "--restore", "19990101")
    assert refused.returncode == 2


def test_without_dagster_home_nothing_of_the_data_is_lost(broken: Shop) -> None:
    before = revenue(broken)
    shutil.rmtree(broken.folder / "dagster_home")
    out = broken.ok("build")
    assert "tables built" in out
    assert revenue(broken) == before


def test_somebody_who_asks_is_forgotten_also_after_an_interruption(broken: Shop) -> None:
    (who,) = broken.query("select min(customer_id) from silver.customers where email is not null")[0]
    command = [str(Path(sys.executable).with_name("ecommerce")), "forget", who, "--yes"]
    child = subprocess.Popen(command, env=broken.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (broken.data / ".forgetting.json").exists():
        assert child.poll() is None
    child.kill()
    child.wait()
    looked = broken.run("forget", who, "--dry-run")
    assert looked.returncode == 2
    assert "An earlier `ecommerce forget` was interrupted".lower() in looked.stderr.lower()
    assert "what changed" in broken.ok("forget", who, "--yes").lower()
    assert broken.query(f"select full_name, email, phone from silver.customers where customer_id = '{who}'") == [
        (None, None, None)
    ]
