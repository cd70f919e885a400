"""Whether everything is as the last complete build left it: then the next one has nothing to look at.

What a build makes follows from the drops, the warehouse, what it was declared from, the settings, the models' files, Dagster's
history and the day. Of all these a mark is kept when a build has looked at every table without an error. Files count by
name, size and time: a file that is only touched costs a look at every table, nothing else. Drops are no part of it: which of them
are pending is asked before, by content. What has a cadence is looked at again each day.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.orchestration.partitions import today_in
from ecommerce_platform.settings import Settings
from ecommerce_platform.warehouse.changes import behind, table_versions

if TYPE_CHECKING:
    import dagster as dg
    from duckdb import DuckDBPyConnection

    from ecommerce_platform.orchestration.project import Project

#: In DAGSTER_HOME, with whose history it goes.
NOTE = "last_complete_build.json"


@dataclass(frozen=True)
class LastBuild:
    """The last complete build: when it ended, the run, and what its business expectations warned of."""

    mark: str
    at: float
    run_id: str
    warnings: list[tuple[str, str, str]]


def stamps_of_definitions(settings: Settings) -> str:
    """The files that a build is declared from. To be asked before they are read: a file that is changed during a build has
    not been applied.
    """
    files = (*_stamps(Path(__file__).parents[1]), *_stamps(settings.source_folder))
    return _digest(settings.model_dump_json(), *files)


def state_of_tables(con: DuckDBPyConnection) -> str | None:
    """The versions that the warehouse's tables have; None if one of them is behind what it is made from."""
    return None if behind(con) else _digest(*sorted(f"{n} {v.version}" for n, v in table_versions(con).items()))


def last_build(project: Project, instance: dg.DagsterInstance, declared: str, tables: str | None) -> LastBuild | None:
    """The last complete build, if nothing that builds depend on has changed since but perhaps the drops.

    Args:
        project: what is built.
        instance: its history.
        declared: `stamps_of_definitions`.
        tables: `state_of_tables`.
    """
    with suppress(OSError, ValueError, TypeError):
        known = json.loads((project.settings.home / NOTE).read_text(encoding="utf-8"))
        known["warnings"] = [tuple(warning) for warning in known["warnings"]]
        found = LastBuild(**known)
        return found if tables and found.mark == _mark(project, instance, declared, tables) else None
    return None


def remember(
    project: Project,
    instance: dg.DagsterInstance,
    declared: str,
    tables: str | None,
    run_id: str,
    warnings: Sequence[tuple[str, str, str]],
) -> None:
    """Notes that a build has looked at every table, that nothing failed and all input was used.

    Args:
        project: what was built; its warehouse is closed by now, and `tables` was asked before.
        instance: its history.
        declared: `stamps_of_definitions`.
        tables: `state_of_tables`; of tables that are behind nothing is noted.
        run_id: of the build.
        warnings: what its business expectations warned of.
    """
    if not tables:
        return
    build = LastBuild(_mark(project, instance, declared, tables), time.time(), run_id, list(warnings))
    with suppress(OSError):  # without the note the next build looks at every table
        (project.settings.home / NOTE).write_text(json.dumps(asdict(build)), encoding="utf-8")


def _mark(project: Project, instance: dg.DagsterInstance, declared: str, tables: str) -> str:
    import duckdb

    from ecommerce_platform.orchestration.jobs import SNAPSHOT

    settings = project.settings
    return _digest(
        declared, tables, str(today_in(project.source)), duckdb.__version__,
        # Whoever wipes a table in the UI wants to see it made again; a snapshot is made by publishing, not by a build.
        str(sorted(key.to_string() for key in instance.all_asset_keys() if key != SNAPSHOT)),
        # The ledger knows what builds have written; somebody else's hand shows in the file.
        *_stamps(settings.warehouse), *_stamps(settings.models), *_stamps(settings.data_docs),
    )  # fmt: skip


def _stamps(path: Path) -> Iterator[str]:
    """Name, size and time of a file or of every file of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            found = file.stat()
            yield f"{file} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()
