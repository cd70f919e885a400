"""Who may read what we create: the owner, and of published snapshots the group."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecommerce_platform import cli, definitions
from ecommerce_platform.disk import keep_private, open_the_way, open_to_group


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): f"{stat.S_IMODE(p.stat().st_mode):o}" for p in sorted(folder.rglob("*"))}


def test_what_a_private_process_creates_is_the_owners_alone_also_what_duckdb_adds(tmp_path: Path):
    script = """
import os, sys
from pathlib import Path
from ecommerce_platform.disk import keep_private
from ecommerce_platform.warehouse.connection import Warehouse
keep_private()
with Warehouse(Path(sys.argv[1]), "mine", {}).connect() as con:
    con.execute("checkpoint; create table silver.t (i int)")
    os._exit(0)  # as if killed: the log stays
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "data" / "warehouse.duckdb")], check=True)
    assert modes(tmp_path) == {
        "data": "700", "data/warehouse.duckdb": "600", "data/warehouse.duckdb.wal": "600"
    }  # fmt: skip


def test_a_stricter_mask_stays():
    os.umask(0o177)
    keep_private()
    assert os.umask(0o022) == 0o177


def test_the_group_reads_what_is_published_but_what_is_closed(tmp_path: Path):
    keep_private()
    snapshot = tmp_path / "data" / "published" / "snapshots" / "1"
    for name in ("manifest.json", "gold/kpi.parquet", "restricted/gold/people.parquet"):
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).touch()
    (tmp_path / "data" / "warehouse.duckdb").touch()
    open_to_group(snapshot, ("restricted",))
    open_the_way(tmp_path / "data")
    assert modes(tmp_path) == {
        "data": "710",
        "data/published": "700",
        "data/published/snapshots": "700",
        "data/published/snapshots/1": "750",
        "data/published/snapshots/1/gold": "750",
        "data/published/snapshots/1/gold/kpi.parquet": "640",
        "data/published/snapshots/1/manifest.json": "640",
        "data/published/snapshots/1/restricted": "700",
        "data/published/snapshots/1/restricted/gold": "700",
        "data/published/snapshots/1/restricted/gold/people.parquet": "600",
        "data/warehouse.duckdb": "600",
    }


@pytest.mark.parametrize(
    ("module", "start"), [(cli, "main"), (definitions, "defs")], ids=["the command line", "what Dagster loads"]
)
def test_every_way_into_the_platform_is_private(module, start: str, monkeypatch: pytest.MonkeyPatch):
    class Seen(BaseException):
        pass

    def seen() -> None:
        raise Seen

    monkeypatch.setattr("ecommerce_platform.disk.keep_private", seen)
    monkeypatch.setattr(cli, "keep_private", seen)
    with pytest.raises(Seen):
        getattr(module, start)()
