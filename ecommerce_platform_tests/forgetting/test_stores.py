"""Drops in an object store, and the copy of the snapshots there, forget as folders do."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from ecommerce_platform.ingestion.zone import open_zone
from ecommerce_platform.operations.forget import forget
from ecommerce_platform.publishing.mirror import mirror
from ecommerce_platform.publishing.publish import PublishOptions, publish
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting import corner_shop as corner
from ecommerce_platform_tests.forgetting.traces import traces
from ecommerce_platform_tests.objectstores import Bucket

pytestmark = [pytest.mark.long, pytest.mark.servers]


def downloaded(bucket: Bucket, folder: Path) -> Path:
    for name in bucket.names():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.get(name) or b"")
    return folder


def test_nothing_is_left_in_the_store(bucket: Bucket, tmp_path: Path) -> None:
    source = str(corner.write_source(tmp_path))
    corner.deliver(tmp_path / "raw", corner.FIRST, corner.SECOND)
    bucket.put_folder(tmp_path / "raw", "raw")
    # A drop that was replaced.
    bucket.put("raw/.replaced/2024-01-02-20240103T000000000000/crm.csv", corner.DROPS[corner.SECOND]["crm.csv"])
    url = f"{bucket.url}/published"
    driver = Driver.of(source, tmp_path / "data")
    driver = driver.at(tmp_path / "data", raw_url=f"{bucket.url}/raw", publish_url=url)
    published = driver.settings.published
    driver.build()
    publish(driver.connect, driver.project.catalog, published, "corner", PublishOptions(force=True))
    mirror(published, url)
    publish(
        driver.connect, driver.project.catalog, published, "corner", PublishOptions(force=True, even_unchanged=True)
    )
    mirror(published, url)
    before = traces(downloaded(bucket, tmp_path / "before"), corner.ANNAS)
    assert any(".replaced" in p for p in before)
    assert any(p.startswith("raw/2024-01-01/payments") for p in before)

    done = forget(driver.settings, "web-W100001", build=driver.build, today=date(2024, 2, 1))
    assert done.done
    assert done.mirror.rows["silver.customers"] == 4
    there = downloaded(bucket, tmp_path / "after")
    assert traces(there, corner.ANNAS) == []
    assert traces(tmp_path / "data", corner.ANNAS) == []
    for manifest in there.glob("published/snapshots/*/manifest.json"):
        for entry in json.loads(manifest.read_text())["tables"].values():
            assert (manifest.parent / entry["file"]).stat().st_size == entry["bytes"]
    # The next publish and its copy go on as ever, and nothing waits to be loaded.
    publish(driver.connect, driver.project.catalog, published, "corner", PublishOptions(force=True))
    assert not mirror(published, url).unchanged
    assert open_zone(driver.settings).drops(driver.project.source).days == (corner.FIRST, corner.SECOND)
    assert forget(driver.settings, "web-W100001", build=driver.build).nothing
