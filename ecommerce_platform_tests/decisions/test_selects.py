"""SELECTs of decisions stand in files, and whoever runs one says so: it counts as its code, and its tables as what is read."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from ecommerce_platform import decisions
from ecommerce_platform.contracts.select import tables_read
from ecommerce_platform.decisions.selects import select_file

FOLDER = Path(decisions.__file__).parent
#: Relations that a module hands to its SELECT.
GIVEN = frozenset({"_moments", "_windows"})
RUNNING = sorted(
    p.stem for p in FOLDER.glob("*.py") if "rows_of(con" in p.read_text(encoding="utf-8") and p.stem != "selects"
)


@pytest.fixture(params=RUNNING)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"{decisions.__name__}.{request.param}")


def test_a_module_names_every_select_that_it_runs(module: ModuleType) -> None:
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert set(re.findall(r'rows_of\(\s*con, "(\w+)"', text)) <= set(module.SELECTS)


def test_a_module_names_every_table_that_its_selects_read(module: ModuleType) -> None:
    texts = [select_file(name).read_text(encoding="utf-8") for name in module.SELECTS]
    assert {table for text in texts for table in tables_read(text, GIVEN)} <= set(module.READS)
