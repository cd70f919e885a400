"""A shop whose drops lie in an object store: the same tables as from a folder, whatever happens to drops and store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.objectstores import Bucket

#: What each kind of landing zone has of its own: the time of a file, or a number made of an etag, and what follows from it.
_OWN = "update bronze.files set modified_ns = 0; update silver.loads set fingerprint = ''"


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
    assert [p.name for p in remote.settings.scratch.iterdir() if p.name.startswith("fetched-")] == []
