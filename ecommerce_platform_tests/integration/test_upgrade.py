"""What an earlier commit made works on after an upgrade: warehouse, published folder and DAGSTER_HOME.

The earlier commit is this one with its packages under the names in `FORMER`: a redesign that moves everything and changes no
definition, which is when nothing may be made anew. What becomes of a table whose definition has changed is told elsewhere
(`warehouse/test_incremental.py`).
"""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_platform.operations.status import read_status
from ecommerce_platform.orchestration.instance import TEMPLATE, open_instance
from ecommerce_platform.reading.snapshots import snapshots
from ecommerce_platform.settings import Settings
from ecommerce_platform_tests.conftest import ROOT, Shop

#: Package → what it was called. `automation` is what `orchestration` once was; the others stand for moves to come.
FORMER = {"orchestration": "automation", "warehouse": "storehouse", "contracts": "agreements", "persons": "people_"}
#: What tells that a table was written: its version, and when.
LEDGER = "select table_name, version, code_version, changed_at from changes.versions order by all"
LOADED = "select raw_table, _load_date, _source_file, loaded_at from bronze.files order by all"
TRAINED = "select * from ml.models order by all"


def write_former(folder: Path) -> Path:
    """The package as it was before its modules moved, to be put first on PYTHONPATH."""
    package = folder / "ecommerce_platform"
    shutil.copytree(ROOT / "ecommerce_platform", package, ignore=shutil.ignore_patterns("__pycache__"))
    names = "|".join(FORMER)
    for file in [*package.rglob("*.py"), *package.rglob("dagster.yaml")]:
        text = file.read_text(encoding="utf-8")
        moved = re.sub(rf"\becommerce_platform\.({names})\b", lambda m: f"ecommerce_platform.{FORMER[m[1]]}", text)
        file.write_text(moved, encoding="utf-8")
    for now, then in FORMER.items():
        (package / now).rename(package / then)
    return folder


def squares(settings: Settings) -> dict[str, tuple[Any, int]]:
    """Asset → the days that have a green square, and how many materializations were recorded."""
    import dagster as dg

    with open_instance(settings) as instance:
        return {
            key.to_user_string(): (
                frozenset(instance.get_materialized_partitions(key)),
                len(instance.fetch_materializations(dg.AssetRecordsFilter(key), limit=1000).records),
            )
            for key in instance.all_asset_keys()
        }


@pytest.mark.long
def test_after_an_upgrade_nothing_is_made_anew_and_squares_and_snapshots_stay(shop: Shop, tmp_path: Path) -> None:
    former = {"PYTHONPATH": str(write_former(tmp_path / "former"))}
    shop.ok("generate", "--orders", "300", "--days", "40", **former)
    *_, last = sorted((shop.data / "raw").iterdir())
    last.rename(tmp_path / "drop")
    shop.ok("build", **former)
    shop.ok("publish", **former)
    home = shop.folder / "dagster_home"
    made_by_former = (home / "dagster.yaml").read_text(encoding="utf-8")
    assert "ecommerce_platform.automation." in made_by_former
    settings = Settings(source=shop.source, data_dir=shop.data, dagster_home=home)
    (before,) = snapshots(settings.published)
    made = [shop.query(sql) for sql in (LEDGER, LOADED, TRAINED)]
    assert all(made)

    shop.ok("build")
    assert (home / "dagster.yaml").read_text(encoding="utf-8") == TEMPLATE.read_text(encoding="utf-8")
    assert [shop.query(sql) for sql in (LEDGER, LOADED, TRAINED)] == made
    green = squares(settings)
    day = date.fromisoformat(last.name)
    assert "nothing has changed since the last publish" in shop.ok("publish")
    assert snapshots(settings.published) == [before]

    # And it goes on: a further day is taken over, and the snapshot from before is read as it was.
    shop.ok("land", str(tmp_path / "drop"), "--date", last.name)
    shop.ok("build")
    assert shop.query(TRAINED) == made[2]
    after = squares(settings)
    assert after["gold/fct_orders"][0] == green["gold/fct_orders"][0] | {day.isoformat()}
    assert [key for key, (days, _) in green.items() if not days <= after[key][0]] == []
    assert "published" in shop.ok("publish")
    asked = ("sql", "select sum(orders) from gold.kpi_daily", "--csv")
    assert shop.ok(*asked, "--as-of", before.id) != shop.ok(*asked)
    assert read_status(settings)
