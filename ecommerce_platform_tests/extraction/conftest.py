"""A source with a database of its own: tables made by the test, extracts into a folder of drops, and what lies there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from ecommerce_platform.contracts.source import Source, read_source
from ecommerce_platform.ingestion.extraction.extract import Extracted, TableExtract, extract
from ecommerce_platform.ingestion.landing import RawFile, list_drops
from ecommerce_platform_tests.databases import Server, serve

DAY = date(2024, 5, 1)
VARIABLE = "SHOP_DATABASE"


@dataclass
class Place:
    """A source folder, a database and a folder of drops. `run` runs statements in the database."""

    folder: Path
    kind: str
    run: Callable[..., list[tuple[Any, ...]]]
    time_zone: str = "Europe/Berlin"
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    server: Server | None = None
    database: str = ""

    @property
    def raw(self) -> Path:
        return self.folder / "data" / "raw"

    def declare(self, raw_table: str, **extract: Any) -> None:
        """Adds a raw table that is extracted, from the table of the same name unless told otherwise."""
        extract = {"table": raw_table, **extract}
        self.tables[raw_table] = {
            "files": [f"{raw_table}_*.parquet", f"{raw_table}*.csv"],
            "description": "Invented.",
            "delivery": "delta" if "watermark" in extract else "full",
            "extract": extract,
        }

    @property
    def source(self) -> Source:
        shop = self.folder / "shop"
        shop.mkdir(exist_ok=True)
        where = {"path": "../shop.db"} if self.kind == "sqlite" else {"url": VARIABLE}
        said = {
            "description": "An invented shop.", "currency": "EUR", "time_zone": self.time_zone, "start_date": date(2024, 1, 1),
            "database": {"kind": self.kind, **where}, "tables": self.tables,
        }  # fmt: skip
        (shop / "source.yml").write_text(yaml.safe_dump(said, sort_keys=False))
        return read_source(shop, ["orders", "order_items", "customers"])

    def extract(self, day: date = DAY, **options: Any) -> Extracted:
        return extract(self.source, self.raw, today=day, pauses=(), **options)

    def one(self, day: date = DAY, **options: Any) -> TableExtract:
        """Extracts the only table."""
        (found,) = self.extract(day, **options).tables
        return found

    def files(self, raw_table: str) -> list[RawFile]:
        return list_drops(self.raw, self.source).tables[raw_table]

    def rows(self, raw_table: str, columns: str = "*", newest_only: bool = False) -> list[tuple[Any, ...]]:
        """The rows of all extracts of a table, in the order of their delivery, as bronze would have them."""
        files = self.files(raw_table)
        if newest_only:
            files = [f for f in files if f.day == files[-1].day]
        found: list[tuple[Any, ...]] = []
        for file in files:
            found += duckdb.sql(f"select columns(*)::varchar from (select {columns} from '{file.path}')").fetchall()
        return found


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with serve("postgresql") as server:
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[Server]:
    with serve("mysql") as server:
        yield server


def server_place(server: Server, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(VARIABLE, server.url_of(database))
    return Place(
        folder, server.kind, lambda *sql: server.run(*sql, database=database), server=server, database=database
    )


@pytest.fixture
def pg(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with postgresql.database() as name:
        yield server_place(postgresql, name, tmp_path, monkeypatch)


@pytest.fixture
def my(mysql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with mysql.database() as name:
        yield server_place(mysql, name, tmp_path, monkeypatch)


@pytest.fixture
def lite(tmp_path: Path) -> Place:
    def run(*statements: str) -> list[tuple[Any, ...]]:
        con = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
        try:
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                rows = con.execute(statement).fetchall()
            return rows
        finally:
            con.close()

    return Place(tmp_path, "sqlite", run)


@pytest.fixture(params=[*(pytest.param(kind, marks=pytest.mark.shops) for kind in ("pg", "my")), "lite"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same test on all three kinds of databases."""
    return request.getfixturevalue(request.param)
