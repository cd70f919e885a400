"""The graph as Dagster sees it: a snapshot of all of it, in process materialization, and what loading it costs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from ecommerce_platform.contracts.catalog import read_catalog
from ecommerce_platform.errors import DefinitionError
from ecommerce_platform.orchestration.assembly import build_definitions
from ecommerce_platform.orchestration.jobs import SNAPSHOT
from ecommerce_platform.orchestration.partitions import range_tags
from ecommerce_platform.settings import read_settings
from ecommerce_platform.simulation import generate_shop
from ecommerce_platform_tests.conftest import ROOT


def graph(definitions: dg.Definitions) -> dict[str, dict[str, Any]]:
    """What there is, by part: raw tables, each subject of silver, gold and models, and what runs them."""
    found: dict[str, dict[str, Any]] = {}
    checks: dict[str, list[str]] = {}
    for key in definitions.resolve_asset_graph().asset_check_keys:
        checks.setdefault("/".join(key.asset_key.path), []).append(key.name)
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda s: s.key.path):
        found.setdefault(str(spec.group_name), {})["/".join(spec.key.path)] = {
            "deps": sorted("/".join(d.asset_key.path) for d in spec.deps),
            "owners": list(spec.owners),
            "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
            "tags": {k: v for k, v in sorted(spec.tags.items()) if not k.startswith("dagster/")},
            "checks": sorted(checks.get("/".join(spec.key.path), [])),
        }
    repository = definitions.get_repository_def()
    found["runs"] = {
        "jobs": sorted(job.name for job in definitions.resolve_all_job_defs()),
        "schedules": {s.name: (s.cron_schedule, s.job_name) for s in repository.schedule_defs},
        "sensors": sorted(s.name for s in repository.sensor_defs),
    }
    return found


@pytest.mark.parametrize("source", ["olist", "synthetic"])
def test_the_graph_is_as_recorded(source: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """A snapshot per part: a new table touches that of its own subject."""
    files = snapshot.use_extension(JSONSnapshotExtension)
    for part, found in graph(build_definitions(read_settings(source=source, data_dir=tmp_path))).items():
        assert found == files(name=f"{source}.{part}"), part


@pytest.mark.parametrize(
    ("source", "empty"), [("synthetic", {"sellers"}), ("olist", {"campaigns", "returns", "web_events"})]
)
def test_an_entity_that_the_source_does_not_fill_is_marked_and_has_no_days(
    source: str, empty: set[str], tmp_path: Path
) -> None:
    specs = build_definitions(read_settings(source=source, data_dir=tmp_path)).resolve_all_asset_specs()
    marked = {spec.key.path[1]: spec for spec in specs if spec.tags.get("filled") == "no"}
    assert empty <= marked.keys()
    assert {spec.key.path[0] for spec in marked.values()} == {"silver"}
    for spec in specs:
        assert ("empty" in spec.kinds) == (spec in marked.values())
        assert ("**Empty:** this source does not fill it." in (spec.description or "")) == (spec in marked.values())
    assert not any(spec.partitions_def for spec in marked.values())
    assert {"orders", "customers", "products", "order_items"}.isdisjoint(marked)


@pytest.mark.parametrize("source", ["synthetic", "olist", "marketplace", "pet_retail"])
def test_what_accounts_for_the_loads_comes_after_all_that_note_loads(source: str, tmp_path: Path) -> None:
    """Else it lags behind `silver.loads` in every build whose order is the other one, and a publish waits in vain."""
    specs = build_definitions(read_settings(source=source, data_dir=tmp_path)).resolve_all_asset_specs()
    histories = {s.key for s in specs if s.key.path[1].endswith("_history") and s.tags.get("filled") != "no"}
    assert histories
    for spec in specs:
        if spec.key.path[1] in {"entity_accounting", "row_accounting"}:
            assert histories <= {d.asset_key for d in spec.deps}


def test_a_check_that_stops_the_write_says_so_although_the_ui_calls_it_non_blocking(tmp_path: Path) -> None:
    checks = build_definitions(read_settings(data_dir=tmp_path)).resolve_asset_graph()

    def spec(name: str) -> dg.AssetCheckSpec:
        return checks.get_check_spec(dg.AssetCheckKey(dg.AssetKey(["gold", "fct_payments"]), name))

    stops = (
        "rolls the whole write back and fails the step, so nothing reads it; Dagster itself need not block anything."
    )
    assert not spec("contract").blocking
    assert (spec("contract").description or "").endswith(f"A row that breaks it {stops}")
    assert spec("foreign_keys").description == "Every reference finds its parent row."


def test_every_layer_is_schema_and_key_prefix_at_once_and_each_subject_a_group(tmp_path: Path) -> None:
    for spec in build_definitions(read_settings(data_dir=tmp_path)).resolve_all_asset_specs():
        subject = spec.tags.get("subject")
        assert spec.group_name == (f"{spec.key.path[0]}_{subject}" if subject else spec.key.path[0])
        if spec.key == SNAPSHOT:
            continue
        assert spec.metadata["dagster/table_name"].split(".")[0] == spec.key.path[0]
        assert spec.description
        assert spec.owners


def test_each_gold_table_that_is_made_anew_has_its_reason_in_the_docs() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    reasons = page.partition("Why these gold tables are made anew")[2].partition("\n## ")[0]
    named = [
        name for row in re.findall(r"^\|.*\| (`.*) \|$", reasons, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    anew = [
        name.removeprefix("gold.")
        for name, table in read_catalog().tables.items()
        if name.startswith("gold.") and table.sql and table.contract.write != "incremental"
    ]
    assert sorted(named) == sorted(anew), (
        "docs/operations.md says of each gold table that is no `write: incremental` why"
    )


def test_definitions_load_without_warnings_of_deprecated_or_preview_apis(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.PreviewWarning)
        warnings.simplefilter("error", dg.BetaWarning)
        warnings.simplefilter("error", DeprecationWarning)
        build_definitions(read_settings(data_dir=tmp_path)).resolve_asset_graph()


def test_importing_the_entry_point_reads_and_opens_nothing() -> None:
    # -B: writing a .pyc opens a file by its number.
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
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[] []", done.stdout + done.stderr


def test_building_definitions_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom ecommerce_platform.orchestration.assembly import build_definitions\n"
        "from ecommerce_platform.settings import read_settings\n"
        "build_definitions(read_settings(data_dir='/nonexistent')).resolve_asset_graph()\n"
        "print([m for m in ('polars', 'pandas', 'sklearn', 'scipy', 'pyarrow') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


DAYS = (date(2024, 1, 1), date(2024, 1, 20))


@pytest.fixture(scope="module")
def executed_and_recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The events of a run over twenty days, and what is recorded of each day of `silver.orders`."""
    folder = tmp_path_factory.mktemp("shop")
    generate_shop(folder / "data", orders=250, days=20, seed=3, dirty_share=0.01)
    settings = read_settings(data_dir=folder / "data", dagster_home=folder / "home")
    definitions = build_definitions(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("build").execute_in_process(
            instance=instance, raise_on_error=False, tags=range_tags(*DAYS)
        )
        events = list(result.all_events)
        of_orders = dg.AssetRecordsFilter(asset_key=dg.AssetKey(["silver", "orders"]))
        days = instance.fetch_materializations(of_orders, limit=1000).records
    assert result.success, [e.message for e in events if e.is_failure]
    return events, {record.partition_key: record.asset_materialization.metadata for record in days}


@pytest.fixture(scope="module")
def executed(executed_and_recorded: Any) -> Any:
    return executed_and_recorded[0]


def metadata(events: list[dg.DagsterEvent], table: str) -> dict[str, Any]:
    key = dg.AssetKey(table.split("."))
    # Of a range of days, the last event carries what is said about the table as a whole.
    return [dict(e.materialization.metadata) for e in events if e.is_step_materialization and e.asset_key == key][-1]


@pytest.mark.shops
def test_every_day_of_a_range_has_its_own_numbers(executed_and_recorded: Any) -> None:
    found = {
        day: {name: metadata[name].value for name in ("rows_landed", "rows_loaded", "rows_rejected")}
        for day, metadata in executed_and_recorded[1].items()
    }
    assert len(found) == 20
    assert all(n["rows_landed"] == n["rows_loaded"] + n["rows_rejected"] for n in found.values())
    assert sum(n["rows_rejected"] for n in found.values()) > 0


@pytest.mark.shops
def test_a_materialization_tells_rows_changes_preview_and_lineage(executed: Any) -> None:
    found = metadata(executed, "gold.fct_order_items")
    assert found["dagster/row_count"].value > 250
    assert found["rows_inserted"].value == found["dagster/row_count"].value
    assert "| order_id |" in found["preview"].value.replace("  ", " ") or "order_id" in found["preview"].value
    lineage = found["dagster/column_lineage"].value.deps_by_column
    sources = {(d.asset_key.to_user_string(), d.column_name) for d in lineage["gross_amount"]}
    assert sources == {
        ("silver/order_items", "quantity"),
        ("silver/order_items", "unit_price"),
        ("silver/orders", "currency"),
        ("silver/shop", "currency"),
        ("gold/daily_rates", "exchange_rate"),
    }


@pytest.mark.shops
def test_silver_lineage_leads_to_the_raw_columns(executed: Any) -> None:
    lineage = metadata(executed, "silver.orders")["dagster/column_lineage"].value.deps_by_column
    assert [(d.asset_key.to_user_string(), d.column_name) for d in lineage["ordered_at"]] == [
        ("bronze/synthetic__orders", "placed")
    ]


@pytest.mark.shops
def test_previews_never_show_personal_data(executed: Any) -> None:
    preview = metadata(executed, "silver.customers")["preview"].value
    assert "@" not in preview
    assert "•••" in preview


@pytest.mark.shops
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


def test_of_many_findings_three_are_said_and_the_others_counted() -> None:
    from ecommerce_platform.warehouse.load_checks import LoadCheck

    assert LoadCheck("once", []).explain() is None
    assert LoadCheck("once", ["a", "b", "c"], told=["d"]).explain() == "a; b; c"
    assert LoadCheck("once", [], told=["d"]).explain() == "d"
    assert LoadCheck("once", [str(n) for n in range(298)]).explain() == "0; 1; 2; and 295 more"


def test_a_table_whose_function_is_not_registered_is_told_with_the_names_there_are(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "ecommerce_platform/models", models)
    file = models / "silver/shop.yml"
    file.write_text(file.read_text().replace("filled_by: shop", "filled_by: stop"))
    with pytest.raises(
        DefinitionError, match=r"no function is registered as 'stop', which fills silver\.shop"
    ) as error:
        build_definitions(read_settings(data_dir=tmp_path), models=models)
    assert "row_accounting" in str(error.value)
