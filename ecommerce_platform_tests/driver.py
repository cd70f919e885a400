"""All tables of bronze, silver and gold built in this process, without Dagster's runs: what the assets do, seconds less.

`Driver.build` has every asset of the real definitions take over whatever of the drops folder is pending, in the order in
which they depend on each other. Only what a run adds is left out: its events, and its own choice of days. Which drops
lie there, and in which version, the caller says (`schedules.py`); ml is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg

from ecommerce_platform.orchestration.assembly import declare
from ecommerce_platform.orchestration.assets.declare import Step, work_of
from ecommerce_platform.orchestration.project import Project, read_project
from ecommerce_platform.orchestration.resources import open_warehouse, warehouse_resource
from ecommerce_platform.settings import Settings, read_settings
from ecommerce_platform.warehouse.write import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LAYERS = ("bronze", "silver", "gold")


@dataclass(frozen=True)
class Asked:
    """What one build works on: an open warehouse, and days to take over again."""

    con: DuckDBPyConnection
    again: Collection[date] = ()
    #: Assets list the drops once per build, as they do once per run.
    build_id: str = field(default_factory=lambda: uuid4().hex)


Make = Callable[[Asked], Written]


class _Unrun(Step):
    """A step that no run has begun: it works in the open warehouse, on all days."""

    asked: Asked

    @classmethod
    def of(cls, asked: Asked, settings: Settings) -> _Unrun:
        context: Any = SimpleNamespace(run=SimpleNamespace(run_id=asked.build_id, tags={}), retry_number=0)
        step = cls(context, warehouse_resource(settings), True)
        object.__setattr__(step, "asked", asked)
        return step

    @property
    def log(self) -> Any:
        return logging.getLogger("driver")

    def connect(self) -> AbstractContextManager[DuckDBPyConnection]:
        return nullcontext(self.asked.con)

    @property
    def days(self) -> Any:  # type: ignore[override]
        """All: a range of days is the run's."""
        return None

    @property
    def again(self) -> Any:
        return tuple(self.asked.again)


@dataclass(frozen=True)
class Driver:
    """A source's tables in building order, and the data folder to build them in."""

    settings: Settings
    project: Project
    steps: dict[str, Make]
    #: Table → the tables it depends on.
    needs: dict[str, set[str]]

    @classmethod
    def of(cls, source: str, folder: Path) -> Driver:
        """The driver for a source whose drops are in `<folder>/raw`."""
        settings = read_settings(source=source, data_dir=folder, threads=2)
        project = read_project(settings)
        return cls(settings, project, *_steps(project))

    def at(self, folder: Path, **settings: Any) -> Driver:
        """The same for another data folder."""
        there = self.settings.model_copy(update={"data_dir": folder, **settings})
        project = replace(self.project, settings=there, listing={})
        return Driver(there, project, *_steps(project))

    def connect(self) -> AbstractContextManager[DuckDBPyConnection]:
        """The warehouse."""
        return open_warehouse(self.settings).connect()

    def build(self, *, again: Collection[date] = (), only_first: int | None = None, of: Collection[str] = ()) -> None:
        """Takes over all days of the drops folder that are new, changed or gone.

        Args:
            again: days to take over though nothing about them has changed.
            only_first: stops after so many tables, as a run does that is killed between two.
            of: makes these tables and what they depend on, instead of all.
        """
        wanted, waiting = set[str](), list(of or self.steps)
        while waiting:
            table = waiting.pop()
            if table not in wanted:
                wanted.add(table)
                waiting += self.needs[table]
        with self.connect() as con:
            asked = Asked(con, again)
            for table in [table for table in self.steps if table in wanted][:only_first]:
                self.steps[table](asked)


def _steps(project: Project) -> tuple[dict[str, Make], dict[str, set[str]]]:
    """Table → what its asset does, in an order in which every table comes after those it depends on; and these."""
    assets: dict[dg.AssetKey, dg.AssetsDefinition] = {}
    for asset in declare(project).assets or ():
        assert isinstance(asset, dg.AssetsDefinition)
        assets |= dict.fromkeys(asset.keys, asset)
    graph = {key: asset.asset_deps[key] for key, asset in assets.items()}
    order = [key for key in TopologicalSorter(graph).static_order() if key.path[0] in LAYERS]
    steps = {".".join(key.path): _make(assets[key], project.settings) for key in order}
    return steps, {".".join(key.path): {".".join(d.path) for d in graph[key] if d.path[0] in LAYERS} for key in order}


def _make(asset: dg.AssetsDefinition, settings: Settings) -> Make:
    work = work_of(asset)
    return lambda asked: work(_Unrun.of(asked, settings)).written
