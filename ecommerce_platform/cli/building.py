"""Commands that build the warehouse and say how it stands. What is published of it: `publishing`."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ecommerce_platform.cli.arguments import given_settings, parse_day, parse_days, settings_with_warehouse
from ecommerce_platform.cli.console import FAILED, INCOMPLETE, bar, say, table, write_csv

if TYPE_CHECKING:
    from ecommerce_platform.operations.builds import BuildResult
    from ecommerce_platform.operations.status import Status
    from ecommerce_platform.quality.rejects import RejectGroup
    from ecommerce_platform.settings import Settings


def build(
    select: Annotated[
        str, typer.Option(help="Dagster asset selection, e.g. 'key:gold/kpi_summary+' or 'group:gold_kpi'.")
    ] = "*",
    partitions: Annotated[
        str | None,
        typer.Option(metavar="A..B", help="Loads to take over (again), as days: 2024-03-01..2024-03-31, or one day."),
    ] = None,
    full_checks: Annotated[
        bool, typer.Option("--full-checks", help="Check whole tables, not only what is written.")
    ] = False,
) -> None:
    """Materializes what the drops deliver, from bronze to models, through Dagster in this process.

    Without --partitions that is what is new, changed, redelivered or removed; if everything is as the last complete build
    left it, no table is looked at. Rows that a rule rejects are kept and
    counted and leave the exit code at 0; files, lines and whole loads that could not be used make it 3.
    """
    from ecommerce_platform.operations.builds import run_build

    settings = given_settings()
    days = parse_days(partitions, "--partitions")
    with bar("loading definitions") as progress:
        result = run_build(settings, select, progress.built, days=days, full_checks=full_checks)
    _tell_findings(result)
    if result.as_it_was_at:
        say(
            f"nothing is new: drops, definitions, settings and tables are as the build of {_time(result.as_it_was_at)} left them "
            "([bold]--full-checks[/] looks at every table all the same)"
        )
        _summary(settings)
        return
    built = f"{len(result.built)} tables built in {result.seconds:.1f} s"
    if result.failed:
        skipped = f", {result.skipped} not attempted" if result.skipped else ""
        say(f"{built}, {len(result.failed)} failed{skipped}")
        raise typer.Exit(FAILED)
    say(built + (f"; {result.rejected:,} rows stand in silver.rejects" if result.rejected else ""))
    if settings.engine == "spark":
        say(
            f"gold's SELECTs ran on Spark ({settings.spark_master}), all else in DuckDB (docs/spark.md)",
            markup=False,
        )
    _summary(settings)
    say(
        "Next: [bold]make ui[/] shows the assets, lineage and checks · [bold]ecommerce status[/] the tables · once "
        "published ([bold]ecommerce publish[/]; make run does), [bold]make dashboard[/] shows the figures and "
        '[bold]ecommerce sql "select * from gold.kpi_monthly"[/] the data'
    )
    if result.findings:
        raise typer.Exit(INCOMPLETE)


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"


def _tell_findings(result: BuildResult) -> None:
    if result.failed:
        table("Failed", ["table", "why"], list(result.failed.items()), styles={0: "red"})
    if result.findings:
        table("Input that could not be used", ["table", "finding"], result.findings, styles={0: "yellow"})
    if result.warnings:
        table("Warnings", ["table", "check", "finding"], result.warnings)
    if result.unparsable:
        columns = ["raw table", "reason", "lines", "first"]
        table("Could not be parsed (bronze.rejects)", columns, result.unparsable, right={2})


def _summary(settings: Settings) -> None:
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.show import as_read

    with open_warehouse(settings).connect() as con:
        try:
            relation = con.sql("select * from gold.kpi_summary")
        except Exception:  # a selection may leave the table unbuilt; the summary is a courtesy
            return
        names, row = relation.columns, relation.fetchall()
    if row:
        shown = [(n, as_read(n, [v])[0][0]) for n, v in zip(names, row[0], strict=True) if v is not None]
        table("gold.kpi_summary", ["kpi", "value"], shown, right={1})


def status() -> None:
    """Tables, rows, loads, rejects, freshness and failed checks."""
    from ecommerce_platform.operations.status import read_status

    state = read_status(given_settings())
    table(f"Tables of {state.source}", ["table", "rows", "built"], state.tables, right={1})
    columns = ["raw table", "days", "first", "last", "rows", "unparsable", "rejected", "used", "superseded"]
    table("Loads", columns, state.loads, right={1, 4, 5, 6, 7, 8})
    _tell_waiting(state)
    if state.rejects:
        table("Rejected rows", ["entity", "reason", "rows", "e.g."], state.rejects, right={2})
    if state.checks:
        table("Failed checks", ["table", "check", "severity", "finding"], state.checks)
    else:
        say("no check fails" if state.tables else "nothing is built yet: run `ecommerce build`")


def _tell_waiting(state: Status) -> None:
    if state.waiting:
        say("waiting to be built: " + ", ".join(f"{t} ({n} days)" for t, n in state.waiting))
    unlisted = [f"what is waiting is not known: {state.unlisted}"] if state.unlisted else []
    for sentence in state.held + unlisted:
        say(sentence, stderr=True, markup=False, soft_wrap=True)


def rejects(
    target: Annotated[str | None, typer.Argument(help="Only this entity or raw table, e.g. orders.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only this reason code, e.g. not_convertible.")] = None,
    load: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what this load brought.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples per reason.")] = 2,
    csv: Annotated[bool, typer.Option("--csv", help="Every single row, as delivered, as CSV.")] = False,
) -> None:
    """What could not be used and why, by reason, with examples."""
    from ecommerce_platform.orchestration.resources import open_warehouse
    from ecommerce_platform.quality.rejects import reject_groups, rejected_rows

    settings = settings_with_warehouse()
    day = parse_day(load, "--load")
    with open_warehouse(settings).connect() as con:
        if csv:
            rows = rejected_rows(con, target=target, reason_code=reason, load=day)
            columns = ["target", "origin", "reason_code", "reason", "as_delivered"]
            write_csv(columns, ((r.target, r.origin, r.reason_code, r.reason, r.raw) for r in rows))
            return
        groups = reject_groups(con, target=target, reason_code=reason, load=day, examples=examples)
    if groups:
        _tell_rejects(groups)
    else:
        say("nothing was rejected" + (" of what was asked for" if target or reason or load else ""))


def _tell_rejects(groups: list[RejectGroup]) -> None:
    shown = [
        (
            g.target, g.raw_table, g.reason_code, g.column, g.rows, _span(g.first_load, g.last_load),
            "\n".join(f"{origin}: {why}" for origin, why in g.examples),
        )
        for g in groups
    ]  # fmt: skip
    table("Rejected", ["entity", "raw table", "reason", "column", "rows", "loads", "examples"], shown, right={4})
    say(
        "Put the file right and land it again, or correct the mapping: `ecommerce build` then takes these rows over. "
        "[bold]--csv[/] lists every row as delivered."
    )


def _span(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} … {last}"
