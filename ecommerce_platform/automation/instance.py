"""Preparing and opening DAGSTER_HOME: initialised once, owned by one source.

Two processes that open a fresh DAGSTER_HOME together crash while creating its tables, so set-up opens it first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

TEMPLATE = Path(__file__).with_name("dagster.yaml")
_OWNER = ".source"
#: Events that are stored in one transaction.
BATCH_SIZE = 1000


def prepare_home(settings: Settings) -> Path:
    """Makes DAGSTER_HOME exist with its dagster.yaml and this source's name on it.

    Raises:
        SettingsError: it belongs to another source.
    """
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    owner = home / _OWNER
    try:
        recorded = owner.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        owner.write_text(settings.source_name + "\n", encoding="utf-8")
        recorded = settings.source_name
    if recorded != settings.source_name:
        raise SettingsError(
            f"this DAGSTER_HOME belongs to the source {recorded!r}, not {settings.source_name!r}",
            where=home,
            fix=f"set DAGSTER_HOME to another folder, or ECOMMERCE_SOURCE={recorded}",
        )
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    return home


def write_batches() -> None:
    """Makes Dagster hand over the events of a range of days together; this variable is its own switch for it."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of these settings, prepared; also sets DAGSTER_HOME for what Dagster starts itself.

    Raises:
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    write_batches()
    import dagster as dg

    from ecommerce_platform.automation.reaper import reap_dead_runs

    instance = dg.DagsterInstance.get()
    # A killed run would hold its place in the queue until a daemon looks; every start looks, too.
    reap_dead_runs(instance)
    return instance
