"""The training asset in a warehouse: what it writes is written together, or not at all."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from ecommerce_platform.contracts.ddl import create_table_sql
from ecommerce_platform.ml import lifecycle
from ecommerce_platform.orchestration.assets.ml import model_assets
from ecommerce_platform.orchestration.project import read_project
from ecommerce_platform.orchestration.resources import open_warehouse, warehouse_resource
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.changes import record_change
from ecommerce_platform.warehouse.lookup import table_exists
from ecommerce_platform_tests.ml.shop import planted_orders


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A shop with what segments are trained on, and nothing else."""
    settings = read_settings(source="synthetic", data_dir=tmp_path)
    orders, _ = planted_orders(40)
    project = read_project(settings)
    with open_warehouse(settings).connect() as con:
        for table in ("gold.rfm", "gold.fct_orders", "gold.customer_features"):
            con.execute(create_table_sql(project.catalog.contract(table)))
            record_change(con, table)
        con.register("bought", orders.to_arrow())
        con.execute(
            "insert into gold.fct_orders (order_id, person_id, order_date, revenue_amount, is_counted) "
            "select 'o' || row_number() over (), person_id, order_date, revenue, true from bought"
        )
        con.execute(
            "insert into gold.rfm (person_id, recency_days, frequency, monetary) select person_id, "
            "date '2025-02-05' - max(order_date), count(distinct order_date), sum(revenue) from bought group by 1"
        )
    return settings


def train(settings: Settings) -> bool:
    """Materializes the asset; whether it wrote anything."""
    project = read_project(settings)
    asset, _ = model_assets(project, project.catalog.contract("ml.segments"))
    done = dg.materialize(
        [asset], instance=dg.DagsterInstance.ephemeral(), resources={"warehouse": warehouse_resource(settings)}
    )
    (found,) = done.asset_materializations_for_node(asset.node_def.name)
    return bool(found.metadata["changed"].value)


def counts(settings: Settings) -> tuple[int | None, int | None]:
    """Rows of the registry and of the evaluations; None for a table that is not there."""
    found = []
    with open_warehouse(settings).connect() as con:
        for table in ("models", "evaluations"):
            row = con.execute(f"select count(*) from ml.{table}").fetchone() if table_exists(con, "ml", table) else None
            found.append(row[0] if row else None)
    return found[0], found[1]


def test_a_training_that_is_stopped_while_writing_leaves_nothing_and_is_done_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "record_seen", killed)  # the last thing that is written
        with pytest.raises(RuntimeError, match="killed"):
            train(settings)
    assert counts(settings) == (None, None)
    assert train(settings)
    models, evaluations = counts(settings)
    assert models == 1
    assert evaluations
    assert not train(settings), "nothing has changed since"
    assert counts(settings) == (models, evaluations)


def test_a_model_whose_registry_is_gone_is_trained_again(settings: Settings) -> None:
    assert train(settings)
    with open_warehouse(settings).connect() as con:
        con.execute("drop table ml.models")
    assert train(settings)
    assert counts(settings)[0] == 1
