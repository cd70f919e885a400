"""Which export is which: by its columns, in whatever order, with whatever else, and never another system's."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest

from ecommerce_platform.scaffold.sample import read_sample
from ecommerce_platform.scaffold.systems import SYSTEMS, columns_named, known_systems, recognise, systems_page
from ecommerce_platform_tests.scaffold.conftest import TODAY

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(path for path in FIXTURES.glob("*/*"))


@cache
def headers(folder: Path) -> dict[str, list[str]]:
    """The columns of a folder's files as their beginnings tell them; of pages those of the records in them."""
    files = [file for table in read_sample(folder, TODAY).tables.values() for file in table.files]
    return {file.file.name: list(file.inside[1] if file.inside else file.columns) for file in files}


def header(path: Path) -> list[str]:
    return headers(path.parent)[path.name]


def meant(path: Path) -> tuple[str, str]:
    """The system and table that a fixture is of: several folders of one system are told apart behind a dash."""
    return path.parent.name.partition("-")[0], path.stem


def said(columns: list[str]) -> tuple[str, str] | None:
    found = recognise(columns)
    return (found.system.name, found.table) if found else None


def test_every_layout_has_a_fixture() -> None:
    assert {meant(path) for path in FILES} == {
        (system.name, table) for system in known_systems().values() for table in system.files
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_layout_is_recognised_by_its_columns_alone(path: Path) -> None:
    columns, truth = header(path), meant(path)
    assert said(columns) == truth
    mixed = [*columns, *(f"Extra {n}" for n in range(10))]
    random.Random(7).shuffle(mixed)
    assert said(mixed) == truth, "shuffled, with ten further columns"
    assert said([f" {column.upper()} " for column in columns]) == truth, "written in another way"
    layout = known_systems()[truth[0]].tables[truth[1]]
    known = {c.lower() for c in layout.required} | {
        n.lower() for c in layout.required for n in layout.other_names.get(c, ())
    }
    assert said([column for column in columns if column.lower() in known]) == truth, "without optional columns"
    for column, others in layout.other_names.items():
        for other in others:
            renamed = [other if written == column else written for written in [*layout.required, column]]
            assert said(renamed) == truth, f"{column} as {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_export_is_mistaken_for_another(path: Path) -> None:
    fits = {
        (system.name, table)
        for system in known_systems().values()
        for table, layout in system.files.items()
        if layout.read_as(header(path)) is not None
    }
    assert fits == {meant(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_without_a_column_that_tells_it_an_export_is_not_recognised(path: Path) -> None:
    system, table = meant(path)
    layout = known_systems()[system].tables[table]
    for column in layout.required:
        names = {column, *layout.other_names.get(column, ())}
        assert said([c for c in header(path) if c not in names]) is None, column


def test_no_real_export_is_mistaken_for_a_known_system(test_data: Path) -> None:
    found = {
        file: said(columns)
        for name in ("olist", "marketplace", "pet_retail")
        for file, columns in headers(test_data / name).items()
    }
    assert len(found) > 10
    assert found == dict.fromkeys(found)


def test_templates_read_only_columns_of_their_layout() -> None:
    for system in known_systems().values():
        for (entity, table), sql in system.templates.items():
            layout = system.tables[table]
            named = columns_named([sql, *(e for n, e in system.expressions.items() if re.search(rf"\b{n}\b", sql))])
            assert named <= set(layout.columns), f"{system.name}/{entity}.{table}"
        for layout in system.tables.values():
            assert set(layout.other_names) <= set(layout.columns)


def test_every_system_says_which_pages_were_read_and_when() -> None:
    assert {path.name for path in SYSTEMS.iterdir()} == set(known_systems())
    for system in known_systems().values():
        assert all(page.date.year >= 2026 for page in system.read), system.name


def test_the_page_about_systems_says_what_they_say() -> None:
    page = Path(__file__).parents[3] / "docs" / "shop-systems.md"
    assert page.read_text(encoding="utf-8") == systems_page(), "ecommerce docs writes it"
