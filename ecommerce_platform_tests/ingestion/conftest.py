"""An invented shop in a folder of its own: drops as bytes, a warehouse, and loading in one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_platform.contracts.source import RawTable, Source, SourceFile
from ecommerce_platform.ingestion.bronze import BronzeLoad, FileLoad, load_bronze, pending_days
from ecommerce_platform.ingestion.landing import RawFile, list_drops

DAY = date(2024, 5, 1)


def make_source(**tables: dict[str, Any]) -> Source:
    """A source `shop` whose raw tables have the given fields; `files` is `<table>*` unless given."""
    raw = {
        name: RawTable(**{"files": (f"{name}*",), "description": "invented", **fields})
        for name, fields in tables.items()
    }
    file = SourceFile(
        name="shop",
        path=Path("shop/source.yml"),
        description="An invented shop.",
        currency="EUR",
        time_zone="Europe/Berlin",
        start_date=date(2024, 1, 1),
        tables=raw,
    )
    return Source(file, ())


@dataclass
class Bench:
    """One shop with the raw table `t`."""

    folder: Path
    con: duckdb.DuckDBPyConnection
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return make_source(t=self.fields)

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def drop(self, content: bytes | str, name: str = "t.csv", day: date = DAY) -> Path:
        """Puts a file into the drop of a day."""
        path = self.raw / day.isoformat() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @property
    def files(self) -> list[RawFile]:
        return list_drops(self.raw, self.source).tables["t"]

    @property
    def pending(self) -> set[date]:
        return pending_days(self.con, self.source, "t", self.files)

    def load(
        self,
        days: Sequence[date] | None = None,
        *,
        expected: Sequence[str] = (),
        required: dict[str, str] | None = None,
    ) -> BronzeLoad:
        """Loads `days`, or those that are pending."""
        return load_bronze(
            self.con,
            self.source,
            "t",
            self.files,
            self.pending if days is None else days,
            expected=expected,
            required=required or {},
            scratch=self.folder / "scratch",
        )

    def load_one(self, content: bytes | str, name: str = "t.csv", **options: Any) -> FileLoad:
        """Loads a single file and returns what became of it."""
        self.drop(content, name)
        (file,) = self.load(**options).files
        return file

    def rows(self, columns: str = "* exclude (_load_date, _source_file, _source_row, _row_hash)") -> list[tuple]:
        return self.con.execute(
            f"select {columns} from bronze.shop__t order by _load_date, _source_file, _source_row"
        ).fetchall()

    def rejects(self, columns: str = "line, reason_code, raw_text") -> list[tuple]:
        return self.con.execute(
            f"select {columns} from bronze.rejects order by raw_table, _load_date, _source_file, reject_number"
        ).fetchall()

    def state(self) -> list[list[tuple]]:
        """Everything in bronze but the time of loading, in an order that does not depend on how it came there."""
        columns = [name for (name,) in self.con.execute("select column_name from (describe bronze.shop__t)").fetchall()]
        return [
            [tuple(sorted(columns))],
            self.con.execute(
                f"select {', '.join(chr(34) + c + chr(34) for c in sorted(columns))} from bronze.shop__t order by all"
            ).fetchall(),
            self.con.execute("from bronze.rejects order by all").fetchall(),
            self.con.execute("select * exclude (loaded_at) from bronze.files order by all").fetchall(),
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    con = duckdb.connect(str(tmp_path / "warehouse.duckdb"), config={"memory_limit": "1GB", "threads": 2})
    yield Bench(tmp_path, con)
    con.close()


@pytest.fixture
def shop() -> Source:
    return make_source(orders={}, items={"files": ("items*.csv",)})
