"""A build that finds everything as the last complete one left it looks at no table; any change makes it look at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import duckdb
import pytest

from ecommerce_platform.operations import as_it_is
from ecommerce_platform.operations.as_it_is import last_build, remember, stamps_of_definitions, state_of_tables
from ecommerce_platform.operations.builds import BuildResult
from ecommerce_platform.orchestration.jobs import SNAPSHOT
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.changes import record_change, record_seen
from ecommerce_platform_tests.conftest import Shop

WARNING = ("gold.fct_orders", "expectations", "An order has at least one line. Not so: 3 rows")


class Place:
    """A source, a warehouse, models, pages and a history, all invented."""

    def __init__(self, folder: Path) -> None:
        source = folder / "source"
        self.settings = Settings(source=str(source), data_dir=folder / "data", dagster_home=folder / "home")
        for path in (source / "source.yml", self.settings.models / "churn" / "card.json",
                     self.settings.data_docs / "index.html", self.settings.warehouse, self.settings.home / "log"):  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name)
        self.tables: str | None = "orders 1"
        self.keys = [dg.AssetKey(["gold", "orders"]), dg.AssetKey(["gold", "days"])]

    @property
    def given(self) -> tuple[Any, Any, str, str | None]:
        project = SimpleNamespace(settings=self.settings, source=None)
        instance = SimpleNamespace(all_asset_keys=lambda: self.keys)
        return cast(Any, project), cast(Any, instance), stamps_of_definitions(self.settings), self.tables


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(as_it_is, "today_in", lambda source: date(2024, 3, 1))
    return Place(tmp_path)


NOTED = ("r1", [WARNING])


def test_the_last_complete_build_is_known_with_what_its_expectations_warned_of(place: Place) -> None:
    remember(*place.given, *NOTED)
    found = last_build(*place.given)
    assert found
    assert (found.run_id, found.warnings) == ("r1", [WARNING])


@pytest.mark.parametrize(
    "more",
    [
        {"failed": {"gold.days": "no"}},
        {"skipped": 1},
        {"findings": [("bronze.orders", "orders.csv is damaged")]},
    ],
    ids=["a table failed", "one was not attempted", "input was left"],
)
def test_such_a_build_is_not_complete(more: dict[str, Any]) -> None:
    assert BuildResult(built=["gold.days"], warnings=[WARNING]).complete
    assert not BuildResult(built=["gold.orders"], **more).complete


def test_of_warnings_those_stay_that_are_about_tables_as_they_are() -> None:
    assert BuildResult(warnings=[WARNING, ("gold.days", "no_gaps", "a gap")]).broken_expectations == [WARNING]


def _add(path: Callable[[Place], Path]) -> Callable[[Place], None]:
    return lambda place: path(place).write_text("another")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_add(lambda p: p.settings.source_folder / "source.yml"), id="a definition"),
        pytest.param(_add(lambda p: p.settings.source_folder / "orders.new.sql"), id="a definition more"),
        pytest.param(_add(lambda p: p.settings.models / "churn" / "card.json"), id="a model's file"),
        pytest.param(lambda p: (p.settings.models / "churn" / "card.json").unlink(), id="a model's file is gone"),
        pytest.param(lambda p: (p.settings.data_docs / "index.html").unlink(), id="a page is gone"),
        pytest.param(_add(lambda p: p.settings.warehouse), id="somebody wrote into the warehouse"),
        pytest.param(lambda p: setattr(p, "tables", "orders 2"), id="another build wrote a table"),
        pytest.param(lambda p: setattr(p, "tables", None), id="a table is behind"),
        pytest.param(lambda p: p.keys.pop(), id="a table was wiped in the UI"),
        pytest.param(lambda p: (p.settings.home / as_it_is.NOTE).unlink(), id="the history was removed"),
        pytest.param(_add(lambda p: p.settings.home / as_it_is.NOTE), id="the note is damaged"),
        pytest.param(
            lambda p: setattr(p, "settings", p.settings.model_copy(update={"threads": 1 + p.settings.threads})),
            id="a setting",
        ),
    ],
)
def test_after_a_change_every_table_is_looked_at(place: Place, change: Callable[[Place], object]) -> None:
    remember(*place.given, *NOTED)
    assert last_build(*place.given)
    change(place)
    assert last_build(*place.given) is None


def test_that_something_was_published_is_nothing_to_look_at(place: Place) -> None:
    remember(*place.given, *NOTED)
    place.keys.append(SNAPSHOT)
    assert last_build(*place.given)


def test_what_has_a_cadence_is_looked_at_on_the_next_day(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(*place.given, *NOTED)
    monkeypatch.setattr(as_it_is, "today_in", lambda source: date(2024, 3, 2))
    assert last_build(*place.given) is None


def test_a_definition_changed_during_the_build_has_not_been_applied(place: Place) -> None:
    before = place.given
    (place.settings.source_folder / "source.yml").write_text("written while the build ran")
    remember(*before, *NOTED)
    assert last_build(*place.given) is None


def test_tables_that_are_behind_have_no_state() -> None:
    with duckdb.connect() as con:
        record_change(con, "silver.orders")
        record_change(con, "gold.days")
        seen = {"silver.orders": 1_000_000_000_000_000_000}
        record_seen(con, "gold.days", seen)
        first = state_of_tables(con)
        assert first
        record_change(con, "silver.orders")
        assert state_of_tables(con) != first
        record_seen(con, "gold.days", {"silver.orders": 0})
        assert state_of_tables(con) is None


@pytest.mark.shops
def test_a_second_build_starts_no_run_and_a_table_that_was_dropped_comes_back(shop: Shop) -> None:
    shop.ok("generate", "--orders", "150", "--days", "20", "--dirty", "0")
    shop.ok("build")
    orders = shop.query("select * from gold.fct_orders order by all")
    before = runs(shop)
    assert "nothing is new" in shop.ok("build")
    assert runs(shop) == before
    assert "nothing is new" not in shop.ok("build", "--full-checks")
    assert "nothing is new" in shop.ok("build")
    with duckdb.connect(str(shop.data / "warehouse.duckdb")) as con:
        con.execute("drop table gold.fct_orders")
    assert "nothing is new" not in shop.ok("build")
    assert shop.query("select * from gold.fct_orders order by all") == orders


def runs(shop: Shop) -> int:
    import sqlite3

    file = next((shop.folder / "dagster_home").rglob("runs.db"))
    with sqlite3.connect(file) as con:
        return int(con.execute("select count(*) from runs").fetchone()[0])
