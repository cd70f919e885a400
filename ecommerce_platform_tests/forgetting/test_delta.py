"""Delta tables forget with the snapshot that they are copies of, in all their versions."""

from __future__ import annotations

import importlib.util
from datetime import date
from hashlib import sha256
from pathlib import Path

import polars
import pytest

from ecommerce_platform.operations.forget import forget
from ecommerce_platform.publishing.delta import copy_to_delta
from ecommerce_platform.publishing.publish import PublishOptions, publish, read_hash_key
from ecommerce_platform_tests.driver import Driver
from ecommerce_platform_tests.forgetting import corner_shop as corner
from ecommerce_platform_tests.forgetting.traces import traces
from ecommerce_platform_tests.leftout import leave_out


@pytest.mark.long
def test_nothing_is_left_in_any_version(tmp_path: Path) -> None:
    if importlib.util.find_spec("deltalake") is None:
        leave_out("deltalake is not installed", "pip install 'ecommerce_platform[delta]' -c constraints.txt")
    source, tables = str(corner.write_source(tmp_path)), tmp_path / "delta"
    driver = Driver.of(source, tmp_path / "data")
    driver = driver.at(tmp_path / "data", delta_dir=tables)
    published, emails = driver.settings.published, []
    for day in (corner.FIRST, corner.SECOND):
        corner.deliver(tmp_path / "data" / "raw", day)
        driver.build()
        publish(driver.connect, driver.project.catalog, published, "corner", PublishOptions(force=True))
        copy_to_delta(published, tables)
        with driver.connect() as con:
            emails += con.execute("select email from silver.customers where customer_id = 'web-W100001'").fetchall()
    key = read_hash_key(published) or ""
    hers = [*corner.ANNAS, *(sha256(f"{key}{email}".encode()).hexdigest() for (email,) in emails)]
    before = {Path(found.split(":")[0]) for found in traces(tables, hers)}
    versions = [path for path in before if path.parent == Path("silver/customers")]
    assert len(versions) == 2
    assert Path("silver/reviews") in {path.parent for path in before}

    done = forget(driver.settings, "web-W100001", build=driver.build, today=date(2024, 2, 1))
    assert done.done
    assert "silver.customers" in done.delta
    assert traces(tables, hers) == []
    customers = polars.read_delta(str(tables / "silver" / "customers"))
    current = polars.read_parquet(published / "current" / "silver" / "customers.parquet")
    assert customers.height > 1
    assert customers.equals(current)
