"""Commands about what readers get: publishing snapshots, listing them, asking them. Their files: `publishing`, `reading`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings, settings_with_warehouse
from ecommerce_platform.cli.console import FAILED, USAGE, bar, console, say, short, size, table, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from ecommerce_platform.publishing.publish import Snapshot
    from ecommerce_platform.reading.query import Rows
    from ecommerce_platform.reading.snapshots import SnapshotInfo
    from ecommerce_platform.settings import Settings


def publish(
    wait: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for tables that lag behind their inputs.")
    ] = 600,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Publish although tables lag behind what they are made from, or break rules that block."
        ),
    ] = False,
) -> None:
    """Publishes every table as Parquet and switches readers to it in one step."""
    from ecommerce_platform.operations.publications import run_publish
    from ecommerce_platform.publishing.delta import require_delta

    settings = settings_with_warehouse()
    if settings.delta_dir:
        require_delta()
    with bar("publishing") as progress:
        snapshot = run_publish(settings, wait, force=force, progress=progress.step)
    _tell_published(snapshot)
    # After what was published here: the copies may fail.
    if settings.delta_dir:
        _delta(settings, settings.delta_dir)
    if settings.publish_url:
        _mirror(settings, settings.publish_url)


def _tell_published(snapshot: Snapshot) -> None:
    tables = f"{len(snapshot.tables)} tables, {sum(snapshot.tables.values()):,} rows"
    if snapshot.unchanged:
        say(f"nothing has changed since the last publish: {tables} stay in {short(snapshot.folder)}")
    else:
        linked = f" ({len(snapshot.linked)} unchanged and linked)" if snapshot.linked else ""
        say(f"published {tables}{linked}: {short(snapshot.folder)}")
    if snapshot.removed:
        say(f"[dim]removed {len(snapshot.removed)} old snapshots (ECOMMERCE_KEEP_SNAPSHOTS)[/]")
    if snapshot.lagging:
        rows = [(name, ", ".join(inputs)) for name, inputs in snapshot.lagging.items()]
        table("Published although they lag", ["table", "behind"], rows, styles={0: "yellow"})


def _delta(settings: Settings, folder: Path) -> None:
    """The Delta tables of the current snapshot."""
    from ecommerce_platform.publishing.delta import copy_to_delta

    with bar("writing Delta tables") as progress:
        copy = copy_to_delta(settings.published, folder, keep=settings.keep_snapshots, progress=progress.step)
    if copy.written or copy.removed:
        gone = f", {len(copy.removed)} no longer published and removed" if copy.removed else ""
        say(f"Delta tables in {short(folder)}: {len(copy.written)} written, {len(copy.unchanged)} unchanged{gone}")
    else:
        say(f"the Delta tables in {short(folder)} are up to date")


def _mirror(settings: Settings, url: str) -> None:
    """The copy of the current snapshot in an object store."""
    from ecommerce_platform.publishing.mirror import mirror

    with bar("copying") as progress:
        copy = mirror(settings.published, url, keep=settings.keep_snapshots, progress=progress.step)
    if copy.unchanged:
        say(f"the copy at {copy.url} is up to date")
    else:
        within = f", {len(copy.copied)} unchanged and copied there" if copy.copied else ""
        tables = f"{len(copy.uploaded)} tables uploaded, {size(copy.size)}{within}"
        say(f"copied to {copy.url}/snapshots/{copy.snapshot}: {tables}")
    if copy.removed:
        say(f"[dim]removed {len(copy.removed)} old snapshots there[/]")


def snapshots(
    restore: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="Make this one current again: an id, its beginning, or a local time."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every file, also of copies in an object store, with its hash.")
    ] = False,
) -> None:
    """The published snapshots, newest last."""
    from ecommerce_platform.publishing.publish import restore as restore_snapshot
    from ecommerce_platform.reading.snapshots import snapshots as list_snapshots

    settings = given_settings()
    if restore is not None:
        restored = restore_snapshot(settings.published, restore)
        say(f"readers now get the snapshot of {restored.local_time} ({restored.id}), until the next publish")
    elif verify:
        _verify(settings)
    elif found := list_snapshots(settings.published):
        _list(found, settings.source_name)
    else:
        say("nothing is published yet: run `ecommerce build` and `ecommerce publish`")


def _list(found: list[SnapshotInfo], source: str) -> None:
    rows = [
        (
            s.id, s.local_time, len(s.tables), s.rows, len(s.changed), size(s.own_bytes), size(s.linked_bytes),
            s.newest_load, "current" if s.current else None,
        )
        for s in found
    ]  # fmt: skip
    columns = ["snapshot", "published", "tables", "rows", "changed", "own", "linked", "newest load", ""]
    table(f"Snapshots of {source}", columns, rows, right={2, 3, 4, 5, 6})
    say(f"on disk: {size(sum(s.own_bytes for s in found))}")


def _verify(settings: Settings) -> None:
    """Says of every snapshot whether its files are what was published; ends with 1 if one is not."""
    from ecommerce_platform.publishing.mirror import verify_copy
    from ecommerce_platform.reading.snapshots import snapshot_folders, verify

    rows: list[tuple[str, str, str]] = []
    hashes: dict[tuple[int, int], str] = {}
    folders, old = snapshot_folders(settings.published), 0
    for folder in folders:
        found = verify(folder, hashes)
        rows += [(folder.name, name, why) for name, why in found.damaged.items()]
        if found.unknown:
            old += 1
            unknown = f"{len(found.unknown)} tables are not verifiable: published before hashes were kept"
            say(f"{folder.name}: {unknown}", highlight=False)
    if settings.publish_url:
        for name, wrong in verify_copy(settings.publish_url, settings.scratch).items():
            rows += [(name, f"{settings.publish_url}/{what}", why) for what, why in wrong.items()]
    if not rows:
        say(f"all files of {len(folders) - old} snapshots are what was published")
        return
    table("Damaged", ["snapshot", "table", "what is wrong"], rows, styles={1: "red"})
    say(
        "`ecommerce publish` writes what is damaged in the current snapshot anew, also for earlier ones that share it; "
        "remove the folder of an earlier one that stays damaged, and a damaged object, which is then brought again"
    )
    raise typer.Exit(FAILED)


def sql(
    query: Annotated[str, typer.Argument(help="A SELECT over silver.…, gold.… and ml.….")],
    limit: Annotated[int, typer.Option(min=1, help="Rows to print.")] = 40,
    csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV instead of a table.")] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="SNAPSHOT",
            help="An earlier state: a snapshot's id, its beginning, or a local time (YYYY-MM-DD, 'YYYY-MM-DD HH:MM').",
        ),
    ] = None,
) -> None:
    """Runs one SELECT over the published snapshot; it can read nothing else."""
    from ecommerce_platform.reading.query import ask
    from ecommerce_platform.reading.snapshots import current_snapshot, find_snapshot, open_snapshot
    from ecommerce_platform.show import print_rows

    settings = given_settings()
    if as_of is None:
        folder = current_snapshot(settings.published)
    else:
        chosen = find_snapshot(settings.published, as_of)
        folder = chosen.folder
        say(f"[dim]as of {chosen.local_time} ({chosen.id})[/]", stderr=True, highlight=False)
    limits = {
        "memory_limit": settings.memory_limit, "threads": settings.threads, "temp_directory": str(settings.scratch / "sql")
    }  # fmt: skip
    con = open_snapshot(folder, limits)
    with closing(con), ask(con, query, seconds=settings.query_seconds, stuck=_give_up) as answer:
        if csv:
            write_csv(answer.columns, _all_rows(answer))
            return
        rows = answer.fetch(limit + 1)
    print_rows(console(), answer.columns, rows[:limit])
    if len(rows) > limit:
        say(f"[dim]more than {limit} rows; --limit or --csv shows them[/]")


def _all_rows(answer: Rows) -> Iterator[tuple[object, ...]]:
    while rows := answer.fetch(10_000):
        yield from rows


def _give_up() -> None:
    """Ends a query that does not listen to being interrupted, and with it the process: nothing was being written."""
    sys.stderr.write("error: the query went on after its time (ECOMMERCE_QUERY_SECONDS) and was given up\n")
    sys.stderr.flush()
    os._exit(USAGE)
