"""The files of the Power BI project, and the views for SQL clients."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from ecommerce_platform.cli import app
from ecommerce_platform.contracts.metrics import read_metrics
from ecommerce_platform.errors import InputError
from ecommerce_platform.reading.snapshots import current_snapshot, read_manifest
from ecommerce_platform.serving.powerbi.model import relationships, tables_there
from ecommerce_platform.serving.powerbi.project import Project, make_project, write_project
from ecommerce_platform_tests.serving import shop
from ecommerce_platform_tests.warehouse.published import catalog

MODEL, REPORT = "ecommerce.SemanticModel/definition/", "ecommerce.Report/definition/"


@pytest.fixture(scope="module")
def project() -> Project:
    return make_project(catalog(), read_metrics(), None, r"C:\shop\current", "/shop/current")


def columns(project: Project) -> dict[str, set[str]]:
    """Table of the model → columns, as its files say."""
    return {
        Path(path).stem: set(re.findall(r"^\tcolumn (\w+)$", text, re.M))
        for path, text in project.files.items()
        if path.startswith(f"{MODEL}tables/")
    }


def test_no_personal_column_and_nothing_that_a_person_wrote_is_in_it(project: Project) -> None:
    hidden = {n for t in catalog().tables.values() for n, c in t.contract.columns.items() if c.pii or c.erase}
    assert {"full_name", "email", "message"} <= hidden
    for table, found in columns(project).items():
        if any(t.contract.name == table for t in catalog().tables.values()):
            contract = next(t.contract for t in catalog().tables.values() if t.contract.name == table)
            assert not {
                n for n in found if n in contract.columns and (contract.columns[n].pii or contract.columns[n].erase)
            }
    text = "\n".join(project.files.values())
    assert not re.search(r'"(full_name|email|phone|birth_date|message)"', text)
    assert "email" not in project.files["views.sql"]


def test_a_filter_has_one_way_from_each_table_to_each_other() -> None:
    links = relationships(catalog(), tables_there(None))
    assert len(links) == 8

    def ways(start: str, end: str) -> int:
        return sum(1 if link.table == end else ways(link.table, end) for link in links if link.parent == start)

    tables = {t.partition(".")[2] for t in tables_there(None)}
    assert {(a, b) for a in tables for b in tables if ways(a, b) > 1} == set()
    assert (
        ways("dim_product", "fct_order_items")
        == ways("kpi_monthly", "reviews")
        == ways("dim_date", "fct_order_items")
        == 1
    )


def test_relationships_and_hierarchies_name_columns_of_the_model(project: Project) -> None:
    known = columns(project)
    for table, column in re.findall(r"Column: (\w+)\.(\w+)", project.files[f"{MODEL}relationships.tmdl"]):
        assert column in known[table]
    for table, levels in {
        "dim_date": ["year", "quarter", "month", "calendar_date"],
        "dim_product": ["category", "product_id"],
        "dim_customer": ["customer_segment", "age_group", "region", "city"],
    }.items():
        assert re.findall(r"^\t\tlevel (\w+)$", project.files[f"{MODEL}tables/{table}.tmdl"], re.M) == levels


def test_the_date_table_is_marked(project: Project) -> None:
    text = project.files[f"{MODEL}tables/dim_date.tmdl"]
    assert "\n\tdataCategory: Time\n" in text
    assert re.search(r"\tcolumn calendar_date\n\t\tdataType: dateTime\n\t\tisKey\n", text)


def test_every_table_reads_the_folder_parameter(project: Project) -> None:
    assert (
        'expression Folder = "C:\\shop\\current" meta [IsParameterQuery=true'
        in project.files[f"{MODEL}expressions.tmdl"]
    )
    for table in tables_there(None):
        schema, name = table.split(".")
        assert f'File.Contents(Folder & "\\{schema}\\{name}.parquet")' in project.files[f"{MODEL}tables/{name}.tmdl"]


def test_every_visual_shows_fields_that_there_are(project: Project) -> None:
    known = columns(project)
    figures = project.files[f"{MODEL}tables/Key figures.tmdl"]
    measures = {m.strip("'") for m in re.findall(r"^\tmeasure ('[^']+'|\w+) =", figures, re.M)}
    visuals = [json.loads(t) for p, t in project.files.items() if p.endswith("visual.json")]
    assert len(visuals) > 25
    for visual in visuals:
        for well in visual["visual"]["query"]["queryState"].values():
            for field in (projection["field"] for projection in well["projections"]):
                if "Measure" in field:
                    assert field["Measure"]["Property"] in measures
                else:
                    entity = field["Column"]["Expression"]["SourceRef"]["Entity"]
                    assert field["Column"]["Property"] in known[entity]


def test_the_page_of_checks_holds_each_measure_beside_both_kpi_tables(project: Project) -> None:
    (page,) = (
        p for p, t in project.files.items() if p.endswith("page.json") and json.loads(t)["displayName"] == "Check"
    )
    shown = [
        [f["nativeQueryRef"] for f in json.loads(t)["visual"]["query"]["queryState"]["Values"]["projections"]]
        for p, t in project.files.items()
        if p.startswith(page.removesuffix("page.json")) and p.endswith("visual.json")
    ]
    pairs = {(a, b) for row in shown for a, b in pairwise(row)}
    for metric in project.measures:
        label = read_metrics().metrics[metric].label
        for table in ("kpi_summary", "kpi_monthly"):
            if metric in catalog().contract(f"gold.{table}").columns:
                assert (label, f"{label} ({table})") in pairs


def test_pages_lie_within_their_width_and_visuals_have_titles(project: Project) -> None:
    for text in (t for p, t in project.files.items() if p.endswith("visual.json")):
        visual = json.loads(text)
        assert visual["position"]["x"] + visual["position"]["width"] <= 1280
        assert visual["visual"]["visualContainerObjects"]["general"][0]["properties"]["altText"]


def test_a_shop_without_reviews_gets_no_page_and_no_measure_about_them() -> None:
    there = [t for t in catalog().tables if t != "silver.reviews"]
    found = make_project(catalog(), read_metrics(), there, "C:\\x", "/x")
    assert f"{MODEL}tables/reviews.tmdl" not in found.files
    assert "avg_review_score" not in found.measures
    assert "reviews" in found.left_out["avg_review_score"]


def test_the_same_definitions_give_the_same_files(project: Project) -> None:
    assert make_project(catalog(), read_metrics(), None, r"C:\shop\current", "/shop/current") == project


def test_writing_again_removes_what_is_gone_and_leaves_other_folders_alone(project: Project, tmp_path: Path) -> None:
    write_project(project, tmp_path)
    stale = tmp_path / MODEL / "tables" / "gone.tmdl"
    stale.write_text("table gone\n")
    write_project(project, tmp_path)
    assert not stale.exists()
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(project.files)
    (other := tmp_path / "other" / "ecommerce.Report").mkdir(parents=True)
    (other / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="no Power BI project of ours"):
        write_project(project, tmp_path / "other")
    assert (other / "mine.txt").read_text() == "mine"


def test_views_show_the_published_rows_without_personal_columns(served: shop.Served) -> None:
    folder = current_snapshot(served.published)
    tables = read_manifest(folder)["tables"]
    sql = make_project(catalog(), read_metrics(), tables, "C:\\x", str(folder)).files["views.sql"]
    with duckdb.connect() as con:
        con.execute(sql)
        for table, about in tables.items():
            assert con.execute(f"select count(*) from {table}").fetchone() == (about["rows"],), table
        assert "email" not in con.sql("select * from gold.dim_customer").columns
        found = con.execute("select comment from duckdb_views() where view_name = 'kpi_summary'").fetchone()
        assert found == (catalog().contract("gold.kpi_summary").description,)


def test_the_command_writes_the_project_and_views_of_this_machine_s_snapshot(
    served: shop.Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOMMERCE_DATA_DIR", str(served.folder))
    said = CliRunner().invoke(app, ["powerbi", "--to", str(tmp_path), "--snapshot", "Z:\\shop"], catch_exceptions=False)
    assert said.exit_code == 0
    assert "churn_rate" in said.output
    assert 'Folder = "Z:\\shop"' in (tmp_path / MODEL / "expressions.tmdl").read_text()
    with duckdb.connect() as con:
        con.execute((tmp_path / "views.sql").read_text())
        assert con.execute("select revenue from gold.kpi_summary").fetchall() == [
            (row["revenue"],) for row in served.rows("select revenue from gold.kpi_summary")
        ]
