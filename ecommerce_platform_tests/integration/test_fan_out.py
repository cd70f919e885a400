"""A SELECT that is edited so that it doubles rows (a join that fans out) is stopped before anything is made from it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ecommerce_platform.contracts.catalog import MODELS, read_catalog
from ecommerce_platform.errors import CheckError
from ecommerce_platform.operations.builds import run_build
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.instance import open_instance
from ecommerce_platform.orchestration.jobs import BUILD_JOB
from ecommerce_platform.orchestration.partitions import ONLY_PENDING, range_tags
from ecommerce_platform.orchestration.project import Project, read_project
from ecommerce_platform.orchestration.resources import open_warehouse
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform.warehouse.incremental import refresh_table
from ecommerce_platform.warehouse.sql_model import SqlModel

pytestmark = pytest.mark.long

#: Entities that the generated shop fills; tables that need others are doubled in models/test_row_fixtures.py.
FILLED = {path.name.partition(".")[0] for path in (MODELS.parent / "sources" / "synthetic").glob("*.sql")}
#: Every SELECT of gold and ml that is made from it, and each table it reads.
READS = [
    (name, read)
    for name, table in sorted(read_catalog().tables.items())
    if table.sql and name.startswith(("gold.", "ml.")) and FILLED.issuperset(table.contract.requires)
    for read in sorted(set(re.findall(r"\b(?:from|join)\s+((?:silver|gold|ml|bronze)\.[a-z_]+)", table.sql)))
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A generated shop, built."""
    folder = tmp_path_factory.mktemp("fan-out-")
    settings = read_settings(source="synthetic", data_dir=folder / "data", dagster_home=folder / "home")
    generate_shop(folder / "data", orders=1500, days=60, seed=5, dirty_share=0)
    assert not run_build(settings).failed
    return settings


@pytest.fixture(scope="module")
def project(settings: Settings) -> Project:
    return read_project(settings)


@pytest.fixture
def con(settings: Settings) -> Iterator[Any]:
    with open_warehouse(settings).connect() as con:
        yield con


def doubled(model: SqlModel, read: str) -> SqlModel:
    """The SELECT with every row of one of the tables it reads twice, as a join that fans out gives them."""
    both = f"(select * from {read} union all select * from {read})"

    def twice(found: re.Match[str]) -> str:
        return f"{found[1]} {both} as {found[3] or read.rpartition('.')[2]}"

    assert model.table.sql is not None
    sql, count = re.subn(rf"\b(from|join)\s+{re.escape(read)}\b(\s+as\s+(\w+))?", twice, model.table.sql)
    assert count
    return replace(model, table=replace(model.table, sql=sql))


@pytest.mark.parametrize(("table", "read"), READS)
def test_rows_that_are_doubled_change_nothing_or_are_stopped(con: Any, project: Project, table: str, read: str) -> None:
    if table not in project.models:
        pytest.fail(f"{table} is not made from the generated shop: take another one")
    con.execute(f"create or replace temp table before as select * from {table}")
    rows = con.execute("select count(*) from before").fetchone()[0]
    try:
        refresh_table(con, doubled(project.models[table], read), None)
    except CheckError:
        stopped = True
    else:
        stopped = False
        refresh_table(con, project.models[table], None)  # as it was, for the tests after this
    differs = con.execute(f"(select * from {table} except all select * from before) limit 1").fetchall()
    assert not differs, "the version before must still be there"
    assert con.execute(f"select count(*) from {table}").fetchone()[0] == rows
    if not stopped:
        # What it made was the same: it only looks for the largest, the distinct, or whether there is one.
        con.execute(
            f"create or replace temp table made as select * from ({doubled(project.models[table], read).table.sql})"
        )
        columns = ", ".join(
            f"round({c}, 6) as {c}" if t.type == "DOUBLE" else c for c, t in project.contracts[table].columns.items()
        )
        wrong = con.execute(f"(select {columns} from made except all select {columns} from before) limit 3").fetchall()
        assert not wrong, f"{table} with doubled {read} was written"


def test_nothing_downstream_and_nothing_published_sees_an_edited_model_that_doubles_rows(
    settings: Settings, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(MODELS, models)
    edited = models / "gold" / "core" / "fct_order_items.sql"
    original = edited.read_text()
    # Every line joined with all lines of its order: where an order has two of them, each comes twice.
    edited.write_text(
        original.replace(
            "from silver.order_items",
            "from silver.order_items inner join (select order_id from silver.order_items) as of_the_order using (order_id)",
        )
    )
    assert edited.read_text() != original
    with open_warehouse(settings).connect() as con:
        facts = con.execute("select count(*), sum(revenue_amount) from gold.fct_order_items").fetchall()
        summary = con.execute("select * from gold.kpi_summary").fetchall()
    job = build_definitions(settings, models=models).resolve_job_def(BUILD_JOB)
    day = max(folder.name for folder in settings.raw.iterdir() if folder.is_dir())
    with open_instance(settings) as instance:
        last = date.fromisoformat(day)
        done = job.execute_in_process(
            instance=instance, raise_on_error=False, tags={**range_tags(last, last), ONLY_PENDING: "true"}
        )
    failed = {e.step_key for e in done.all_events if e.event_type == dg.DagsterEventType.STEP_FAILURE}
    begun = {e.step_key for e in done.all_events if e.event_type == dg.DagsterEventType.STEP_START}
    assert failed == {"gold__fct_order_items"}
    assert begun.isdisjoint({"gold__fct_orders", "gold__kpi_daily", "gold__kpi_summary", "gold__rfm"})
    assert "gold__dim_customer" in begun
    with open_warehouse(settings).connect() as con:
        assert con.execute("select count(*), sum(revenue_amount) from gold.fct_order_items").fetchall() == facts
        assert con.execute("select * from gold.kpi_summary").fetchall() == summary
