"""Commands for a source of one's own: drafting it from a sample, saying what is wrong with it. Both work in `scaffold`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings
from ecommerce_platform.cli.console import INCOMPLETE, USAGE, left, say, say_line, short, spinner, table

if TYPE_CHECKING:
    from ecommerce_platform.contracts.catalog import Catalog
    from ecommerce_platform.ingestion.zone import Zone
    from ecommerce_platform.scaffold.check import Report
    from ecommerce_platform.scaffold.new import NewSource


def new_source(
    name: Annotated[str, typer.Argument(help="Name of the source, or path of the folder to write; never overwritten.")],
    from_: Annotated[Path, typer.Option("--from", metavar="DIR", help="Folder with a sample of the shop's files.")],
) -> None:
    """Drafts a source from a sample of files: source.yml and mappings, with every guess marked."""
    from rich.markup import escape

    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.scaffold.new import new_source as draft_source
    from ecommerce_platform.settings import DEFAULT_SOURCE

    settings, catalog = given_settings(source=DEFAULT_SOURCE), read_catalog()
    with spinner("reading the files"):
        new = draft_source(
            name, from_, catalog, date.today(), memory_limit=settings.memory_limit, threads=settings.threads
        )
    known = " and ".join(system.title for system in new.known.systems)
    surely = f"known from {known}" if known else "all of it guesses"
    say(f"wrote {short(new.folder)}: source.yml and {len(new.files) - 1} mappings, {surely}")
    _tell_drafts(new, catalog)
    for file, what in new.open:
        say(f"[yellow]to do:[/] {escape(f'{name}/{file}: {what} could not be guessed')}", highlight=False)
    say(
        f"Next: read what was guessed, then [bold]ecommerce check-source {escape(name)} --sample {escape(str(from_))}[/]"
    )


def _tell_drafts(new: NewSource, catalog: Catalog) -> None:
    from rich.markup import escape

    rows = [
        (d.table, len(new.sample.tables[d.table].files), new.sample.tables[d.table].rows, f"{d.entity}.{d.table}.sql",
         "{} of {}".format(*new.required(d, catalog)), len(d.filled))
        for d in new.guesses.drafts
    ]  # fmt: skip
    table(None, ["raw table", "files", "rows", "mapping", "required", "filled"], rows, right={1, 2, 4, 5})
    for join in new.known.joins:
        say(escape(str(join)), highlight=False)
    for raw in new.guesses.left:
        say(f"[dim]left: {escape(raw)} seems to fill no entity (its columns stand in source.yml)[/]")
    for file, why in new.sample.skipped:
        say_line(f"[dim]left: {escape(file)} {escape(why)}[/]")


def check_source(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the source.")],
    sample: Annotated[
        Path | None, typer.Option(help="Folder with files to try it on; default: the drops under raw/.")
    ] = None,
) -> None:
    """Says what is wrong with a source and what it would make of the files; loads and writes nothing.

    Figures are held against each other (lines, totals, payments …): what is not plausible is said and changes no exit code.

    Exit codes: 0 all of the input would be used · 2 definitions are wrong · 3 part of the input could not be used, be it a
    single row: `build` takes over the rest and ends with 0 while a load keeps within its table's max_rejected_share.
    """
    from ecommerce_platform.contracts.catalog import read_catalog
    from ecommerce_platform.scaffold.check import check_source as look
    from ecommerce_platform.settings import DEFAULT_SOURCE

    settings = given_settings(source=DEFAULT_SOURCE)
    files = sample or _drops(directory)
    with spinner("looking at the files"):
        report = look(
            directory, read_catalog(), files, date.today(),
            memory_limit=settings.memory_limit, threads=settings.threads,
        )  # fmt: skip
    _tell_counts(report)
    _tell_findings(report)
    _tell_absent(report)
    if not report.looked_at:
        say(
            f"the files in {files} were not looked at: source.yml has to be readable first"
            if files
            else "only definitions were looked at: --sample DIR tries them on files"
        )
    _judge(report)


def _drops(directory: Path) -> Path | Zone | None:
    """The drops of the source in this folder, if there are any."""
    from ecommerce_platform.ingestion.zone import LocalZone, open_zone

    if not (directory / "source.yml").is_file():
        return None
    zone = open_zone(given_settings(source=str(directory)))
    there = zone.raw_dir if isinstance(zone, LocalZone) else zone
    return there if zone.exists() else None


def _tell_counts(report: Report) -> None:
    if not report.tables:
        return
    accounted = {raw: counts for raw, _, *counts in report.accounting}
    rows = [(raw, *counts, *accounted.get(raw, ("?", "?", "?"))) for raw, *counts in report.tables]
    columns = ["raw table", "files", "rows", "unparsable", "used", "superseded", "rejected"]
    table(None, columns, rows, right={1, 2, 3, 4, 5, 6})
    table(None, ["entity", "raw table", "rows", "accepted", "rejected"], report.entities, right={2, 3, 4})


def _tell_findings(report: Report) -> None:
    from rich.markup import escape

    titles = {
        "definition": "[bold red]wrong:[/]",
        "data": "[bold yellow]input:[/]",
        "doubt": "[bold yellow]doubtful:[/]",
        "note": "[dim]note:[/]",
    }
    for level, title in titles.items():
        for finding in report.findings:
            if finding.level == level:
                fix = f"\n  → {finding.fix}" if finding.fix else ""
                said = escape(f"{finding.where}: {finding.what}{fix}")
                say_line(f"{title} {said}")


def _tell_absent(report: Report) -> None:
    """What nothing fills, what nothing reads, what was compared, and what could not be told."""
    from rich.markup import escape

    for entity, missing in report.unfilled:
        say_line(f"[dim]no {entity}: {missing or 'nothing reads it'}[/]")
    for entity, columns in report.empty:
        say_line(f"[dim]{entity} without {columns}[/]")
    left(report.left, report.source)
    for compared in report.plausibility.compared:
        say_line(escape(f"compared: {compared}"))
    for what in report.plausibility.not_compared:
        say_line(escape(f"not compared: {what}"))
    few = [f"{e}.{c}" for (e, c, _), verdict in report.days_and_months.items() if verdict == "too few to tell"]
    if few:
        columns = ", ".join(dict.fromkeys(few))
        say_line(f"[dim]too few days to tell whether day and month stand where they belong: {columns}[/]")


def _judge(report: Report) -> None:
    """The last line and the exit code."""
    if wrong := len(report.of("definition")):
        say(f"to correct in the definitions: {wrong}")
        raise typer.Exit(USAGE)
    if data := len(report.of("data")):
        say(f"part of the input would not be used as it is: {data} findings")
        raise typer.Exit(INCOMPLETE)
    if not report.looked_at:
        say("all is well")
        return
    every = "every row of data would be used"
    if doubts := len(report.of("doubt")):
        say(f"{every}; figures that are not plausible: {doubts} findings")
    elif report.plausibility.compared:
        say(f"all is well: {every}, and the figures that were compared agree")
    else:
        say(f"{every}; whether the figures are right could not be told, for none could be compared")
