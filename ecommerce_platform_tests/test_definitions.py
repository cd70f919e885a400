"""The graph as Dagster sees it: a snapshot of all of it, in process materialization, and what loading it costs."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from ecommerce_platform.automation.jobs import SNAPSHOT
from ecommerce_platform.automation.partitions import range_tags
from ecommerce_platform.build import build_definitions
from ecommerce_platform.settings import read_settings
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.conftest import ROOT


def graph(definitions: dg.Definitions) -> dict[str, Any]:
    found = {}
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda s: s.key.path):
        found["/".join(spec.key.path)] = {
            "deps": sorted("/".join(d.asset_key.path) for d in spec.deps),
            "group": spec.group_name,
            "owners": list(spec.owners),
            "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
            "tags": {k: v for k, v in sorted(spec.tags.items()) if not k.startswith("dagster/")},
        }
    checks = sorted(str(key.to_user_string()) for key in definitions.resolve_asset_graph().asset_check_keys)
    repository = definitions.get_repository_def()
    return {
        "assets": found,
        "checks": checks,
        "jobs": sorted(job.name for job in definitions.resolve_all_job_defs()),
        "schedules": {s.name: (s.cron_schedule, s.job_name) for s in repository.schedule_defs},
        "sensors": sorted(s.name for s in repository.sensor_defs),
    }


@pytest.mark.parametrize("source", ["olist", "synthetic"])
def test_the_graph_is_as_recorded(source: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    settings = read_settings(source=source, data_dir=tmp_path)
    assert graph(build_definitions(settings)) == snapshot


def test_every_layer_is_schema_group_and_key_prefix_at_once(tmp_path: Path) -> None:
    for spec in build_definitions(read_settings(data_dir=tmp_path)).resolve_all_asset_specs():
        assert spec.group_name == spec.key.path[0]
        if spec.key == SNAPSHOT:
            continue
        assert spec.metadata["dagster/table_name"].split(".")[0] == spec.key.path[0]
        assert spec.description
        assert spec.owners


def test_definitions_load_without_warnings_of_deprecated_or_preview_apis(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.PreviewWarning)
        warnings.simplefilter("error", dg.BetaWarning)
        warnings.simplefilter("error", DeprecationWarning)
        build_definitions(read_settings(data_dir=tmp_path)).resolve_asset_graph()


def test_importing_the_entry_point_reads_and_opens_nothing() -> None:
    code = (
        "import sys, builtins\n"
        "import dagster\n"
        "seen = []\n"
        "sys.addaudithook(lambda e, a: seen.append((e, str(a[0]))) if e in ('open', 'os.listdir', 'os.scandir') else None)\n"
        "import ecommerce_platform.definitions\n"
        "bad = [s for s in seen if not s[1].endswith(('.py', '.pyc')) and 'pycache' not in s[1] and s[0] == 'open']\n"
        "heavy = [m for m in ('duckdb', 'polars', 'pandas', 'sklearn', 'scipy', 'sqlglot') if m in sys.modules]\n"
        "print(bad, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[] []", done.stdout + done.stderr


def test_building_definitions_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom ecommerce_platform.build import build_definitions\n"
        "from ecommerce_platform.settings import read_settings\n"
        "build_definitions(read_settings(data_dir='/nonexistent')).resolve_asset_graph()\n"
        "print([m for m in ('polars', 'pandas', 'sklearn', 'scipy', 'pyarrow') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("package", ["ml", "simulation", "ingestion", "warehouse", "quality", "contracts"])
def test_domain_code_imports_no_dagster(package: str) -> None:
    for path in (ROOT / "ecommerce_platform" / package).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import dagster" not in text, path
        assert "from dagster" not in text, path


DAYS = (date(2024, 1, 1), date(2024, 2, 29))


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("shop")
    generate_shop(folder / "data", orders=600, days=60, seed=3, dirty_share=0.01)
    settings = read_settings(data_dir=folder / "data", dagster_home=folder / "home")
    definitions = build_definitions(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("build").execute_in_process(
            instance=instance, raise_on_error=False, tags=range_tags(*DAYS)
        )
        events = list(result.all_events)
    assert result.success, [e.message for e in events if e.is_failure]
    return events


def metadata(events: list[dg.DagsterEvent], table: str) -> dict[str, Any]:
    key = dg.AssetKey(table.split("."))
    # Of a range of days, the last event carries what is said about the table as a whole.
    return [dict(e.materialization.metadata) for e in events if e.is_step_materialization and e.asset_key == key][-1]


def test_every_day_of_a_range_has_its_own_numbers(executed: Any) -> None:
    key = dg.AssetKey(["silver", "orders"])
    found = {
        e.partition: {n: e.materialization.metadata[n].value for n in ("rows_landed", "rows_loaded", "rows_rejected")}
        for e in executed
        if e.is_step_materialization and e.asset_key == key and "rows_landed" in e.materialization.metadata
    }
    assert len(found) == 60
    assert all(n["rows_landed"] == n["rows_loaded"] + n["rows_rejected"] for n in found.values())
    assert sum(n["rows_rejected"] for n in found.values()) > 0


def test_a_materialization_tells_rows_changes_preview_and_lineage(executed: Any) -> None:
    found = metadata(executed, "gold.fct_order_items")
    assert found["dagster/row_count"].value > 600
    assert found["rows_inserted"].value == found["dagster/row_count"].value
    assert "| order_id |" in found["preview"].value.replace("  ", " ") or "order_id" in found["preview"].value
    lineage = found["dagster/column_lineage"].value.deps_by_column
    sources = {(d.asset_key.to_user_string(), d.column_name) for d in lineage["gross_amount"]}
    assert sources == {("silver/order_items", "quantity"), ("silver/order_items", "unit_price")}


def test_silver_lineage_leads_to_the_raw_columns(executed: Any) -> None:
    lineage = metadata(executed, "silver.orders")["dagster/column_lineage"].value.deps_by_column
    assert [(d.asset_key.to_user_string(), d.column_name) for d in lineage["ordered_at"]] == [
        ("bronze/synthetic__orders", "placed")
    ]


def test_previews_never_show_personal_data(executed: Any) -> None:
    preview = metadata(executed, "silver.customers")["preview"].value
    assert "@" not in preview
    assert "•••" in preview


def test_every_declared_check_is_evaluated_but_the_business_expectations_which_have_a_job_of_their_own(
    executed: Any, tmp_path: Path
) -> None:
    declared = build_definitions(read_settings(data_dir=tmp_path)).resolve_asset_graph().asset_check_keys
    evaluated = {
        e.asset_check_evaluation_data.asset_check_key
        for e in executed
        if e.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    assert evaluated == {key for key in declared if key.name != "expectations"}
