"""A shop whose drops lie in an object store: the same tables as from a folder, whatever happens to drops and store."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.errors import PassingError
from ecommerce_platform.ingestion.zone import StoreZone
from ecommerce_platform.reading.snapshots import current_snapshot
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.conftest import Shop
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.objectstores import Bucket

pytestmark = pytest.mark.shops

#: What each kind of landing zone has of its own: the time of a file, or a number made of an etag, and what follows from it.
_OWN = """
update bronze.files set modified_ns = 0;
update silver.loads set fingerprint = '';
update gold.table_profiles set version = '';
update gold.profile_drift set version = '';
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated shop's drops, to be copied; nothing is built there."""
    folder = tmp_path_factory.mktemp("generated")
    generate_shop(folder, orders=600, days=20, seed=4)
    return folder / "raw"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver.of("synthetic", tmp_path_factory.mktemp("nowhere"))


@pytest.fixture
def local(generated: Path, tmp_path: Path, driver: Driver) -> Driver:
    """A shop that is built from a folder."""
    shutil.copytree(generated, tmp_path / "local" / "raw")
    return driver.at(tmp_path / "local")


@pytest.fixture
def remote(generated: Path, tmp_path: Path, driver: Driver, bucket: Bucket) -> Driver:
    """The same shop, built from an object store."""
    bucket.put_folder(generated, "raw")
    return driver.at(tmp_path / "remote", raw_url=f"{bucket.url}/raw")


@pytest.fixture
def differ(local: Driver, remote: Driver) -> Callable[[], list[str]]:
    """Builds the local shop and says what differs between the two, row for row, in all tables."""

    def ask() -> list[str]:
        local.build()
        for driver in (local, remote):
            with driver.connect() as con:
                con.execute(_OWN)
        with remote.connect() as con:
            return differences(con, local.settings.warehouse)

    return ask


def test_a_shop_in_an_object_store_gives_the_tables_of_one_in_a_folder(
    remote: Driver, differ: Callable[[], list[str]]
) -> None:
    remote.build()
    assert differ() == []
    assert [p.name for p in remote.settings.scratch.iterdir() if p.name.startswith("on-its-way-")] == []


@pytest.mark.long
def test_redelivered_removed_and_late_drops_end_in_the_same_tables(
    generated: Path, local: Driver, remote: Driver, bucket: Bucket, differ: Callable[[], list[str]]
) -> None:
    """First an earlier state there: one day corrected since, one taken back since, one that came late."""
    first, second, third, *_ = days = sorted(p.name for p in generated.iterdir() if p.is_dir())
    for file in sorted((generated / days[-1]).iterdir()):
        bucket.put(f"raw/{first}/{file.name}", file.read_bytes())
    bucket.put_folder(generated / second, "raw/2023-01-01")
    late = {name: bucket.get(name) for name in bucket.names(f"raw/{third}")}
    bucket.remove(*late)
    remote.build()
    bucket.remove(*bucket.names(f"raw/{first}"))
    bucket.put_folder(generated / first, f"raw/{first}")
    bucket.remove(*bucket.names("raw/2023-01-01"))
    for name, content in late.items():
        bucket.put(name, content or b"")
    remote.build()
    assert differ() == []


@pytest.mark.long
def test_a_store_that_stops_in_the_middle_of_a_build_loses_nothing(
    remote: Driver, bucket: Bucket, differ: Callable[[], list[str]], impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, fetched = [], StoreZone.fetched

    def stops(self: StoreZone, *arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 3:
            bucket.gate.shut_after(3000)
        return fetched(self, *arguments)

    monkeypatch.setattr(StoreZone, "fetched", stops)
    with pytest.raises(PassingError, match="cannot be reached or does not answer"):
        remote.build()
    assert len(asked) == 3
    with remote.connect() as con:
        assert con.execute("select count(distinct raw_table) from bronze.files").fetchall() == [(2,)]
    bucket.gate.open()
    remote.build()
    assert differ() == []


@pytest.mark.long
@pytest.mark.servers
def test_the_commands_work_on_object_stores(shop: Shop, bucket: Bucket, generated: Path, tmp_path: Path) -> None:
    """Land, build, status and publish as a user calls them, with the store away in between."""
    urls = {"ECOMMERCE_RAW_URL": f"{bucket.url}/raw", "ECOMMERCE_PUBLISH_URL": f"{bucket.url}/published"}
    refused = shop.run("build", **urls)
    assert refused.returncode == 2
    assert f"{bucket.url}/raw: there are no drops yet" in refused.stderr
    refused = shop.run("generate", **urls)
    assert refused.returncode == 2
    assert "the generated shop is written to" in refused.stderr
    days = sorted(p for p in generated.iterdir() if p.is_dir())
    for day in days[:2]:
        said = shop.ok("land", str(day), "--date", day.name, **urls)
        assert f"as the drop of {day.name} in {bucket.url}/raw" in said
    assert "already landed as the drop of" in shop.ok("land", str(days[0]), "--date", days[0].name, **urls)
    assert "tables built" in shop.ok("build", **urls)
    first = shop.query("select count(*) from bronze.files")

    shop.ok("land", str(days[2]), "--date", days[2].name, **urls)
    assert "waiting to be built" in shop.ok("status", **urls)
    bucket.gate.shut()
    away = shop.run("build", **urls)
    assert away.returncode == 2
    assert "cannot be reached or does not answer" in away.stderr
    assert "Traceback" not in away.stderr
    assert shop.query("select count(*) from bronze.files") == first
    told = shop.run("status", **urls)
    assert told.returncode == 0
    assert "what is waiting is not known" in told.stderr
    published = shop.run("publish", **urls)
    assert published.returncode == 2
    assert "published " in published.stdout
    assert f"{bucket.url}/published" in published.stderr
    bucket.gate.open()

    assert "tables built" in shop.ok("build", **urls)
    assert shop.query("select count(distinct _load_date) from bronze.files") == [(3,)]
    assert f"copied to {bucket.url}/published/snapshots/" in shop.ok("publish", **urls)
    snapshot = current_snapshot(shop.data / "published")
    for file in [p for p in snapshot.rglob("*") if p.is_file()]:
        there = bucket.get(f"published/snapshots/{snapshot.name}/{file.relative_to(snapshot)}")
        if file.parent.name == "restricted":  # what is in the clear leaves the machine for no store
            assert there is None, file
            continue
        assert there is not None, file
        assert file.suffix == ".json" or there == file.read_bytes()


@pytest.mark.long
@pytest.mark.servers
def test_a_run_tries_again_when_the_store_is_back(shop: Shop, bucket: Bucket, generated: Path) -> None:
    """Within a step, the listing having succeeded: the step's own tries sit the outage out."""
    bucket.put_folder(generated, "raw")
    bucket.gate.shut_at("order_items.")

    def reopen() -> None:
        if bucket.gate.has_shut.wait(300):
            time.sleep(20)
            bucket.gate.open()

    threading.Thread(target=reopen, daemon=True).start()
    said = shop.ok("build", ECOMMERCE_RAW_URL=f"{bucket.url}/raw")
    assert "tables built" in said
    assert bucket.gate.has_shut.is_set(), "the store was never away"


@pytest.mark.long
@pytest.mark.servers
def test_a_replay_into_a_store_gives_the_drops_of_one_into_a_folder(
    shop: Shop, bucket: Bucket, test_data: Path, tmp_path: Path
) -> None:
    arguments = ("land", str(test_data / "olist"), "--by", "orders.order_purchase_timestamp", "--every", "month")
    shop.ok(*arguments, ECOMMERCE_SOURCE="olist")
    url = f"{bucket.url}/raw"
    assert "26 drops" in shop.ok(*arguments, ECOMMERCE_SOURCE="olist", ECOMMERCE_RAW_URL=url)
    assert "nothing to do" in shop.ok(*arguments, ECOMMERCE_SOURCE="olist", ECOMMERCE_RAW_URL=url)
    raw = shop.data / "raw"
    files = {str(p.relative_to(raw)): p for p in raw.rglob("*") if p.is_file() and p.name != ".lock"}
    there = [n.removeprefix("raw/") for n in bucket.names("raw") if not n.endswith("_SUCCESS")]
    assert there == sorted(files)
    for name, path in files.items():
        assert bucket.get(f"raw/{name}") == path.read_bytes()
