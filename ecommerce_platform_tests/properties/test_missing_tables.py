"""A table that somebody dropped is there again after the next build, with the same rows, whichever it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.compare import differences
from ecommerce_platform_tests.driver import Driver

pytestmark = pytest.mark.shops

#: One of each kind: loaded, mapped, shared by all entities, history, linked, replaced, incremental, filled by Python.
KINDS = (
    "bronze.synthetic__payments", "silver.orders", "silver.rejects", "silver.loads", "silver.customers_history",
    "silver.customer_links", "silver.customer_identities", "silver.shop", "silver.row_accounting", "gold.kpi_monthly",
    "gold.fct_orders", "gold.anomalies", "gold.table_profiles", "gold.profile_drift",
)  # fmt: skip
#: Each table takes a build: they are tried in parts of some minutes.
_PARTS = 8


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A small dirty shop, built."""
    folder = tmp_path_factory.mktemp("built")
    generate_shop(folder, orders=300, days=20, seed=3, dirty_share=0.05)
    driver = Driver.of("synthetic", folder)
    driver.build()
    return driver


def lost_and_found(built: Driver, folder: Path, tables: Sequence[str]) -> list[str]:
    """What differs from before after these tables were dropped and everything was built again."""
    shutil.copytree(built.settings.data, folder / "data")
    again = built.at(folder / "data")
    with again.connect() as con:
        for table in tables:
            con.execute(f"drop table {table}")
    again.build()
    with again.connect() as con:
        return differences(con, built.settings.warehouse)


def test_tables_of_every_kind_that_are_gone_are_built_again(built: Driver, tmp_path: Path) -> None:
    with built.connect() as con:
        rejected = con.execute("select count(distinct entity) from silver.rejects").fetchall()
    assert rejected[0][0] > 2, "else losing the rejects shows nothing"
    assert lost_and_found(built, tmp_path, KINDS) == []


@pytest.mark.long
@pytest.mark.parametrize("part", range(_PARTS))
def test_any_table_that_is_gone_is_built_again(built: Driver, tmp_path: Path, part: int) -> None:
    tables = [table for table in built.steps if not table.startswith("bronze.")]
    assert len(tables) > 40
    wrong = {}
    for number, table in enumerate([*tables, "silver.rejects", "silver.loads"][part::_PARTS]):
        if found := lost_and_found(built, tmp_path / str(number), [table]):
            wrong[table] = found
        shutil.rmtree(tmp_path / str(number))
    assert wrong == {}
