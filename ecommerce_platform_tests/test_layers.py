"""The layers of the house hold, and an import that breaks one of them is told."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    code = shutil.ignore_patterns("__pycache__", "*.sql", "*.yml", "*.css")
    shutil.copytree(ROOT / "ecommerce_platform", folder / "ecommerce_platform", ignore=code)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_layers_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "6 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("contracts/ddl.py", "from ecommerce_platform.warehouse import write", "An import goes down"),
        ("warehouse/lookup.py", "import dagster", "Dagster stays in orchestration and operations"),
        ("quality/suites.py", "from ecommerce_platform.ml import rfm", "Checks and models meet through tables"),
        ("operations/status.py", "from ecommerce_platform.simulation import shop", "Only the command line asks"),
        ("warehouse/lookup.py", "from ecommerce_platform.warehouse import write", "No circles, also within a package"),
    ],
)
def test_an_import_that_breaks_them_is_told(copy: Path, module: str, line: str, contract: str) -> None:
    path = copy / "ecommerce_platform" / module
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n\ndef _late() -> None:\n    {line}\n", encoding="utf-8")
    try:
        done = lint(copy)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    (told,) = [row for row in done.stdout.splitlines() if row.startswith(contract) and row.endswith("BROKEN")]
    assert told


def test_no_module_imports_anothers_private_names() -> None:
    found = []
    for path in (ROOT / "ecommerce_platform").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ecommerce_platform"):
                found += [f"{path.name}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
    assert found == []
