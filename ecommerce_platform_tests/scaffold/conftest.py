"""Small exports in a folder of their own, drafted and checked in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from unittest.mock import patch

import duckdb
import pytest

from ecommerce_platform.contracts.catalog import Catalog, read_catalog
from ecommerce_platform.scaffold import check
from ecommerce_platform.scaffold.check import Report, check_source
from ecommerce_platform.scaffold.new import NewSource, new_source
from ecommerce_platform.warehouse.connection import MACROS
from ecommerce_platform.warehouse.sql_model import SqlModel, parse_models

TODAY = date(2024, 5, 1)


class Bench:
    """An export folder, and the source drafted from it."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder, self.catalog = folder, catalog
        self.export = folder / "export"
        self.export.mkdir()
        self.source = folder / "mine"

    def file(self, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = self.export / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    def draft(self, name: str | None = None) -> NewSource:
        return new_source(name or str(self.source), self.export, self.catalog, TODAY, threads=2)

    def sql(self, mapping: str) -> str:
        """A drafted mapping without its comments, on one line."""
        lines = (self.source / f"{mapping}.sql").read_text(encoding="utf-8").splitlines()
        code = [line.split("  --")[0].strip() for line in lines]
        return " ".join(line for line in code if line and not line.startswith("--"))

    def write(self, **files: str) -> None:
        """The source folder by hand: `source_yml`, and mappings as `entity__table`."""
        self.source.mkdir(exist_ok=True)
        for name, content in files.items():
            path = "source.yml" if name == "source_yml" else name.replace("__", ".") + ".sql"
            (self.source / path).write_text(content, encoding="utf-8")

    def check(self, *, definitions_only: bool = False) -> Report:
        return check_source(self.source, self.catalog, None if definitions_only else self.export, TODAY, threads=2)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return read_catalog()


@pytest.fixture(scope="session", autouse=True)
def parsed_once(catalog: Catalog) -> Iterator[None]:
    """The tables' SELECTs, which every check parses: they are the same for all."""
    every = parse_models(catalog, dict.fromkeys(catalog.entities, True))

    def parsed(given: Catalog, filled: Mapping[str, object]) -> Mapping[str, SqlModel]:
        return every if given is catalog and all(filled.values()) else parse_models(given, filled)

    with patch.object(check, "parse_models", parsed):
        yield


@pytest.fixture
def bench(tmp_path: Path, catalog: Catalog) -> Bench:
    return Bench(tmp_path, catalog)


@pytest.fixture(scope="session")
def macros() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute(MACROS.read_text(encoding="utf-8"))
        yield con


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


Draft = Callable[[], NewSource]
COMMAND = str(Path(sys.executable).with_name("ecommerce"))
