"""Preparing and opening DAGSTER_HOME: initialised once, owned by one source.

Two processes that open a fresh DAGSTER_HOME together crash while creating its tables: whoever comes first here opens it
alone and leaves a mark. Dagster's own servers are started after `ecommerce variables`, which does the same.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_platform.errors import SettingsError
from ecommerce_platform.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

TEMPLATE = Path(__file__).with_name("dagster.yaml")
_OWNER = ".source"
#: Says with which Dagster and which dagster.yaml the tables were made; it goes when they are deleted.
_READY = Path("history", ".ready")
#: What `dagster.yaml` was in earlier versions. One that nobody has changed follows; one with settings of its own stays.
_EARLIER = {
    "842c728206c7481c891e5396c13bc0a7ae03d458b2f1a2faafbcfce0ff17a00e",
    "74eab17b46cb4e5f92809ca88c5fd83d327246a381391498828e28df1d905f69",
    "d3e47905729c4fe436c84d510f8297bb9381259a98d4e501c589909e52d420e7",
    "e348c6f1696fe2795105a5c6ec4f37adb3c22482a33ebd5e2450f256643a5cf9",
    "693c4a053643ee8ddae3a6aad45137fd0a51f1f3d7e0b9a642dca0c1dab301c0",
    "6148d7aae87ec4b4ea54a8498db0802ce369e86075b6fa7fb6adfeb52937986b",
}
#: Where the classes that dagster.yaml names were, and where they are.
_MOVED = ("module: ecommerce_platform.automation.", "module: ecommerce_platform.orchestration.")
#: Events that are stored in one transaction.
BATCH_SIZE = 1000


def prepare_home(settings: Settings) -> Path:
    """Makes DAGSTER_HOME exist with its dagster.yaml and this source's name on it.

    Raises:
        SettingsError: it belongs to another source.
    """
    home = settings.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    given = home / "dagster.yaml"
    text = given.read_text(encoding="utf-8") if given.exists() else None
    if text is None or sha256(text.encode()).hexdigest() in _EARLIER:
        wanted = TEMPLATE.read_text(encoding="utf-8")
    else:
        wanted = text.replace(*_MOVED)
    if wanted != text:
        half = home / f".dagster.yaml.{os.getpid()}"
        half.write_text(wanted, encoding="utf-8")
        half.replace(given)  # at once: another process never reads a part of it
    return home


def write_batches() -> None:
    """Makes Dagster hand over the events of a range of days together; this variable is its own switch for it."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))


def initialise(settings: Settings) -> Path:
    """Makes DAGSTER_HOME one that several processes may open at the same time; where it is one, Dagster isn't even loaded.

    Raises:
        SettingsError: it belongs to another source.
    """
    home = prepare_home(settings)
    if not _is_ready(home):
        open_instance(settings).dispose()
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of these settings, prepared; also sets DAGSTER_HOME for what Dagster starts itself.

    Raises:
        SettingsError: DAGSTER_HOME belongs to another source.
    """
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    write_batches()
    import dagster as dg

    from ecommerce_platform.orchestration.reaper import reap_dead_runs

    with _alone_until_ready(home):
        instance = dg.DagsterInstance.get()
        # A killed run would hold its place in the queue until a daemon looks; every start looks, too.
        reap_dead_runs(instance)
    return instance


def _is_ready(home: Path) -> bool:
    try:
        return (home / _READY).read_text(encoding="utf-8") == _made_with(home)
    except FileNotFoundError:
        return False


def _made_with(home: Path) -> str:
    return f"dagster {version('dagster')}, {sha256((home / 'dagster.yaml').read_bytes()).hexdigest()}\n"


@contextmanager
def _alone_until_ready(home: Path) -> Iterator[None]:
    """Lets one process at a time in as long as there is no mark, and leaves it when the block has gone well."""
    if _is_ready(home):
        yield
        return
    (home / _READY).parent.mkdir(exist_ok=True)
    with (home / _READY).open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        handle.truncate(0)
        handle.write(_made_with(home))
